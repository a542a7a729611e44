"""What the worker does not ask, read or work out twice."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flow_engine import load_flow
from prefect.flows import flow
from prefect.settings import PREFECT_API_URL, Settings, temporary_settings

from flows.generate import generate
from worker import worker
from worker.worker import ENTRYPOINT, Configuration, Remembering, is_installed, remember_settings


@flow(name="plain")
def plain() -> None: ...


async def a_deployment(client: PrefectClient) -> DeploymentResponse:
    created = await client.create_deployment(await client.create_flow(plain), name=f"asked-{uuid4().hex[:8]}")
    return await client.read_deployment(created)


@pytest.mark.usefixtures("prefect_server")
def test_a_deployment_is_asked_for_once_in_a_moment_and_anew_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read() -> None:
        async with get_client() as client:
            there = await a_deployment(client)
            remembering = Remembering(client)
            monkeypatch.setattr(worker, "MOMENT", 3600.0)  # longer than any test lasts
            first = await remembering.read_deployment(there.id)
            assert not first.paused
            first.job_variables["env"] = {"OF": "one run"}
            assert (await remembering.read_deployment(there.id)).job_variables == there.job_variables
            await client.set_deployment_paused_state(there.id, True)  # type: ignore[attr-defined]  # the client is wrapped
            assert not (await remembering.read_deployment(there.id)).paused
            monkeypatch.setattr(worker, "MOMENT", 0.0)
            assert (await remembering.read_deployment(there.id)).paused
            assert await remembering.read_deployments()  # all else is the client's own

    asyncio.run(read())


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_is_asked_for_once() -> None:
    async def read() -> None:
        async with get_client() as client:
            flow_id = (await a_deployment(client)).flow_id
            remembering = Remembering(client)
            assert (await remembering.read_flow(flow_id)).name == plain.name
            await client.delete_flow(flow_id)
            assert (await remembering.read_flow(flow_id)).name == plain.name

    asyncio.run(read())


def test_prefect_still_reads_where_its_flow_is_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undocumented; without it each run asks the server once more. No server is there to be asked."""
    monkeypatch.setenv(ENTRYPOINT, "flows.generate.generate")
    assert load_flow(None) is generate  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entrypoint", "pull_steps", "installed"),
    [
        ("flows.generate.generate", None, True),
        ("flows.generate.generate", [], True),
        ("flows/generate.py:generate", None, False),
        ("flows.generate.generate", [{"prefect.deployments.steps.git_clone": {}}], False),
        (None, None, False),
    ],
)
def test_only_what_is_installed_is_imported_unasked(
    entrypoint: str | None, pull_steps: list[dict[str, object]] | None, installed: bool
) -> None:
    deployment = DeploymentResponse.model_validate(
        {"id": uuid4(), "name": "x", "flow_id": uuid4(), "entrypoint": entrypoint, "pull_steps": pull_steps}
    )
    assert is_installed(deployment) is installed


def prepared() -> dict[str, str | None]:
    """The environment of a run's process, as Prefect's worker has it made."""
    configuration = Configuration(command="true", env={})
    configuration.prepare_for_flow_run(FlowRun(flow_id=uuid4(), name="x"))
    return configuration.env


def test_settings_are_written_down_once_for_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if Prefect asks for them in another way when it prepares a run, the first of the two times."""
    written = []
    plain = Settings.to_environment_variables

    def counting(settings: Settings, *args: Any, **kwargs: Any) -> dict[str, str]:
        written.append(settings)
        return plain(settings, *args, **kwargs)

    monkeypatch.setattr(Settings, "to_environment_variables", counting)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        unaided = prepared()
        remember_settings()
        written.clear()
        first, second = prepared(), prepared()
        assert first.keys() == unaided.keys()
        assert first["PREFECT_API_URL"] == second["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
        assert written == []
        with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:2/api"}):
            assert prepared()["PREFECT_API_URL"] == "http://127.0.0.1:2/api"
