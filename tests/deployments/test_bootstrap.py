"""`darkroom deploy`: everything is there after it, and what a user changed survives another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from subprocess import CompletedProcess
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.bootstrap import bootstrap
from tests.servers import Prefect
from webui.embedded.server import EmbeddedWebUI

Deploy = Callable[..., "CompletedProcess[str]"]
NIGHTLY = "generate/nightly"
SECRET = "s3cret-word"


def block(prefect: Prefect, kind: str) -> dict[str, Any]:
    return prefect.call("GET", f"/block_types/slug/{kind}/block_documents/name/default?include_secrets=true")


def update_block(prefect: Prefect, kind: str, **data: Any) -> None:
    body = {"data": data, "merge_existing_data": True}
    prefect.call("PATCH", f"/block_documents/{block(prefect, kind)['id']}", body)


@pytest.fixture
def deploy(deployed: Prefect, painter: EmbeddedWebUI) -> Iterator[Deploy]:
    """Deploy again, as a user without any setting; afterwards everything points to the painter as before."""
    yield lambda *arguments, **environment: deployed.darkroom("deploy", *arguments, **environment)
    with temporary_settings({PREFECT_API_URL: deployed.api}):  # in this process: a command takes seconds to start
        bootstrap(painter.url, say=lambda _: None)


def test_everything_that_a_job_needs_is_there(deployed: Prefect, painter: EmbeddedWebUI) -> None:
    pool = deployed.call("GET", "/work_pools/gpu")
    assert (pool["type"], pool["concurrency_limit"]) == ("process", 1)
    assert block(deployed, "webui")["data"]["base_url"] == painter.url
    assert block(deployed, "gallery")["data"]["folder"] == str(deployed.home / "gallery")
    generate = deployed.deployment()
    assert generate["entrypoint"] == "flows.generate.generate"
    assert generate["enforce_parameter_schema"] is True
    assert not generate["pull_steps"]
    assert not generate["schedules"]
    assert "GenerationJob" in generate["parameter_openapi_schema"]["definitions"]
    for name in ("nightly", "every-six-hours", "first-monday"):
        job = deployed.deployment(f"generate/{name}")
        assert job["parameters"]["job"]["name"] == name
        assert [(s["slug"], s["active"], s["parameters"]) for s in job["schedules"]] == [(name, False, {})]


def test_block_types_have_no_logo_from_the_internet(deployed: Prefect) -> None:
    for kind in ("webui", "gallery"):
        assert deployed.call("GET", f"/block_types/slug/{kind}")["logo_url"] is None


def test_a_second_time_changes_nothing(deployed: Prefect, deploy: Deploy) -> None:
    def stored() -> list[dict[str, Any]]:
        found = [deployed.deployment(name) for name in ("generate/generate", NIGHTLY)]
        # These two tell whether a worker has polled lately.
        return [{k: v for k, v in one.items() if k not in ("status", "last_polled")} for one in found]

    before = stored()
    done = deploy()
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1, f"something was changed:\n{done.stdout}"
    assert stored() == before


def test_what_a_user_changed_stays(deployed: Prefect, deploy: Deploy) -> None:
    nightly = deployed.deployment(NIGHTLY)
    path = f"/deployments/{nightly['id']}/schedules/{nightly['schedules'][0]['id']}"
    deployed.call("PATCH", path, {"active": True})
    deployed.call("PATCH", "/work_pools/gpu", {"is_paused": True})
    update_block(deployed, "gallery", template="{seed}")
    try:
        done = deploy()
        assert done.returncode == 0
        assert "paused" in done.stdout
        assert deployed.call("GET", "/work_pools/gpu")["is_paused"] is True
        assert block(deployed, "gallery")["data"]["template"] == "{seed}"
        found = deployed.deployment(NIGHTLY)
        assert found["schedules"][0]["active"] is True
        assert found["parameters"] == nightly["parameters"]
    finally:
        deployed.call("PATCH", path, {"active": False})
        deployed.call("PATCH", "/work_pools/gpu", {"is_paused": False})
        update_block(deployed, "gallery", template="{date}/{job}/{job}-{seed}-{stage}")


def test_the_webui_follows_only_what_is_set(deployed: Prefect, painter: EmbeddedWebUI, deploy: Deploy) -> None:
    update_block(deployed, "webui", base_url="http://127.0.0.1:9", call_timeout=7)
    assert deploy().returncode == 0
    assert block(deployed, "webui")["data"]["base_url"] == "http://127.0.0.1:9"
    assert deploy(DARKROOM_WEBUI_URL=painter.url).returncode == 0
    found = block(deployed, "webui")["data"]
    assert (found["base_url"], found["call_timeout"]) == (painter.url, 7)
    update_block(deployed, "webui", call_timeout=15)


def test_a_password_is_not_taken_along_to_another_host(deployed: Prefect, deploy: Deploy) -> None:
    update_block(deployed, "webui", base_url="http://127.0.0.1:9", user="me", password=SECRET)
    assert deploy("--webui", "http://127.0.0.1:9/below/").returncode == 0
    data = block(deployed, "webui")["data"]
    assert (data["base_url"], data["user"], data["password"]) == ("http://127.0.0.1:9/below", "me", SECRET)
    done = deploy("--webui", "http://127.0.0.2:9")
    assert "does not get the user and password" in done.stdout
    data = block(deployed, "webui")["data"]
    assert (data["base_url"], data["user"], data["password"]) == ("http://127.0.0.2:9", "", "")
    assert deploy("--webui", "http://127.0.0.3:9", DARKROOM_WEBUI_AUTH=f"you:{SECRET}").returncode == 0
    data = block(deployed, "webui")["data"]
    assert (data["user"], data["password"]) == ("you", SECRET)
    update_block(deployed, "webui", user="", password="")


@pytest.mark.parametrize(
    "address", [f"http://me:{SECRET}@host:7860", f"me:{SECRET}@host:7860", "host:7860", "http:/host"]
)
def test_a_wrong_address_is_refused_before_it_is_stored(
    deployed: Prefect, painter: EmbeddedWebUI, deploy: Deploy, address: str
) -> None:
    for done in (deploy("--webui", address), deploy(DARKROOM_WEBUI_URL=address)):
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert "own fields" in said if "@" in address else "must look like http://host:7860" in said
        assert SECRET not in said and said.count("\n") == 1
    assert block(deployed, "webui")["data"]["base_url"] == painter.url


def test_a_block_that_is_not_valid_is_named_and_can_be_written_anew(
    deployed: Prefect, painter: EmbeddedWebUI, deploy: Deploy
) -> None:
    """Prefect's form stores any text; before, `deploy`, `up` and `check` ended in a RuntimeError for good."""
    update_block(deployed, "webui", base_url=f"me:{SECRET}@host")
    done, checked = deploy(), deployed.darkroom("check")
    assert (done.returncode, checked.returncode) == (1, 1)
    for said in (done.stdout + done.stderr, checked.stdout + checked.stderr):
        assert "webui/default is not valid" in said and "darkroom deploy --webui" in said
        assert SECRET not in said and "Traceback" not in said
    assert deploy("--webui", painter.url).returncode == 0
    assert block(deployed, "webui")["data"]["base_url"] == painter.url


def test_look_ahead_makes_it_two_at_a_time_and_back(deployed: Prefect, deploy: Deploy) -> None:
    for setting, limit in (("1", 2), ("0", 1)):
        assert deploy(DARKROOM_LOOKAHEAD=setting).returncode == 0
        assert deployed.call("GET", "/work_pools/gpu")["concurrency_limit"] == limit


@pytest.mark.parametrize("users", [3, None])
def test_a_limit_that_the_user_set_stays(deployed: Prefect, deploy: Deploy, users: int | None) -> None:
    assert deploy().returncode == 0
    deployed.call("PATCH", "/work_pools/gpu", {"concurrency_limit": users})
    try:
        for setting in ("0", "1"):
            done = deploy(DARKROOM_LOOKAHEAD=setting)
            assert deployed.call("GET", "/work_pools/gpu")["concurrency_limit"] == users
            assert "as set in Prefect" in done.stdout
    finally:
        deployed.call("PATCH", "/work_pools/gpu", {"concurrency_limit": 1})


# -- saved jobs ----------------------------------------------------------------------------------------------


def test_an_old_schedules_switch_moves_to_the_jobs_own_deployment(deployed: Prefect, deploy: Deploy) -> None:
    """As version 0.1 left it: all schedules at generate/generate, one switched on in the UI and so without its job."""
    deployed.call("DELETE", f"/deployments/{deployed.deployment(NIGHTLY)['id']}")
    form = deployed.deployment()
    schedule = {"schedule": {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}, "active": True, "parameters": {}}
    own = {"schedule": {"cron": "0 3 * * *"}, "active": False}
    deployed.call("POST", f"/deployments/{form['id']}/schedules", [schedule | {"slug": "nightly"}, own])
    try:
        done = deploy()
        assert "schedule nightly: moved to generate/nightly, on" in done.stdout
        [moved] = deployed.deployment(NIGHTLY)["schedules"]
        assert (moved["slug"], moved["active"]) == ("nightly", True)
        assert [one["schedule"]["cron"] for one in deployed.deployment()["schedules"]] == ["0 3 * * *"], (
            "the user's own"
        )
        assert deploy().stdout.count("\n") == 1
    finally:
        for one in deployed.deployment()["schedules"]:
            deployed.call("DELETE", f"/deployments/{form['id']}/schedules/{one['id']}")
        nightly = deployed.deployment(NIGHTLY)
        path = f"/deployments/{nightly['id']}/schedules/{nightly['schedules'][0]['id']}"
        deployed.call("PATCH", path, {"active": False})
