"""What the worker is woken by, and when it would rather not be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flow_engine import load_flow
from prefect.flows import flow

from deployments import worker
from deployments.wake import News, Wake
from deployments.worker import ENTRYPOINT, Remembering, is_installed
from flows.generate import generate

T = TypeVar("T")
PATIENCE = 30
QUIET = 3600.0  # seconds that no test lasts


async def soon(waited: Awaitable[T]) -> T:
    return await asyncio.wait_for(waited, PATIENCE)


def test_all_that_happened_is_told_at_once_and_only_once() -> None:
    async def told() -> tuple[News, bool]:
        wake = Wake()
        wake.tell(work=True)
        wake.tell(room=True)
        news = await soon(wake.wait())
        return news, wake.up.is_set()

    assert asyncio.run(told()) == (News(room=True, work=True), False)


def test_new_work_waits_for_a_run_that_was_just_started_an_ended_run_does_not() -> None:
    async def told() -> tuple[bool, News]:
        wake = Wake()
        waits = asyncio.create_task(wake.wait(quiet=QUIET))
        wake.tell(work=True)
        for _ in range(100):
            await asyncio.sleep(0)
        waited = not waits.done()
        wake.tell(room=True)
        return waited, await soon(waits)

    assert asyncio.run(told()) == (True, News(room=True, work=True))


def test_after_the_quiet_new_work_is_told() -> None:
    async def told() -> News:
        wake = Wake()
        wake.tell(work=True)
        return await soon(wake.wait(quiet=0.01))

    assert asyncio.run(told()) == News(work=True)


# -- what the worker asks Prefect ----------------------------------------------------------------------------


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
            assert not (await remembering.read_deployment(there.id)).paused
            await client.set_deployment_paused_state(there.id, True)
            assert not (await remembering.read_deployment(there.id)).paused
            monkeypatch.setattr(worker, "MOMENT", 0.0)
            assert (await remembering.read_deployment(there.id)).paused
            assert await remembering.read_flow(there.flow_id)  # all else is the client's own

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
    deployment = DeploymentResponse(id=uuid4(), name="x", flow_id=uuid4(), entrypoint=entrypoint, pull_steps=pull_steps)
    assert is_installed(deployment) is installed
