"""`darkroom deploy`: everything is there after it, and what a user changed survives another one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.servers import Prefect
from webui.embedded.server import EmbeddedWebUI


def block(prefect: Prefect, kind: str) -> dict[str, Any]:
    return prefect.call("GET", f"/block_types/slug/{kind}/block_documents/name/default")


def update_block(prefect: Prefect, kind: str, **data: Any) -> None:
    body = {"data": data, "merge_existing_data": True}
    prefect.call("PATCH", f"/block_documents/{block(prefect, kind)['id']}", body)


@pytest.fixture
def again(deployed: Prefect, painter: EmbeddedWebUI):
    """Deploy again, as a user without any setting; afterwards everything points to the painter as before."""
    yield lambda *arguments, **environment: deployed.darkroom("deploy", *arguments, **environment)
    assert deployed.darkroom("deploy", "--webui", painter.url).returncode == 0


def test_everything_that_a_job_needs_is_there(deployed: Prefect, painter: EmbeddedWebUI) -> None:
    pool = deployed.call("GET", "/work_pools/gpu")
    assert (pool["type"], pool["concurrency_limit"]) == ("process", 1)
    assert block(deployed, "webui")["data"]["base_url"] == painter.url
    assert block(deployed, "gallery")["data"]["folder"] == str(deployed.home / "gallery")
    generate = deployed.deployment()
    assert generate["entrypoint"] == "flows.generate.generate"
    assert generate["enforce_parameter_schema"] is True
    assert not generate["pull_steps"]
    assert "GenerationJob" in generate["parameter_openapi_schema"]["definitions"]
    assert {s["slug"]: s["active"] for s in generate["schedules"]} == {
        "nightly": False,
        "every-six-hours": False,
        "first-monday": False,
    }


def test_a_second_time_changes_nothing(deployed: Prefect, again) -> None:
    before = deployed.deployment()
    done = again()
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1, f"something was changed:\n{done.stdout}"
    after = deployed.deployment()
    assert after["updated"] == before["updated"]
    assert [s["id"] for s in after["schedules"]] == [s["id"] for s in before["schedules"]]


def test_a_users_switches_stay(deployed: Prefect, again) -> None:
    generate = deployed.deployment()
    nightly = next(s for s in generate["schedules"] if s["slug"] == "nightly")
    path = f"/deployments/{generate['id']}/schedules/{nightly['id']}"
    # A timetable that differs from prefect.yaml is put right; its switch is not touched.
    other = {"active": True, "schedule": {"cron": "0 5 * * *", "timezone": "UTC"}}
    deployed.call("PATCH", path, other)
    deployed.call("PATCH", "/work_pools/gpu", {"is_paused": True})
    update_block(deployed, "gallery", template="{seed}")
    try:
        done = again()
        assert done.returncode == 0
        assert "paused" in done.stdout
        assert deployed.call("GET", "/work_pools/gpu")["is_paused"] is True
        assert block(deployed, "gallery")["data"]["template"] == "{seed}"
        found = next(s for s in deployed.deployment()["schedules"] if s["slug"] == "nightly")
        assert found["active"] is True
        assert found["schedule"]["cron"] == "0 2 * * *"
    finally:
        deployed.call("PATCH", path, {"active": False})
        deployed.call("PATCH", "/work_pools/gpu", {"is_paused": False})
        update_block(deployed, "gallery", template="{date}/{job}/{job}-{seed}-{stage}")


def test_the_webui_follows_only_what_is_set(deployed: Prefect, painter: EmbeddedWebUI, again) -> None:
    update_block(deployed, "webui", base_url="http://127.0.0.1:9", user="me")
    assert again().returncode == 0
    assert block(deployed, "webui")["data"]["base_url"] == "http://127.0.0.1:9"
    assert again(DARKROOM_WEBUI_URL=painter.url).returncode == 0
    found = block(deployed, "webui")["data"]
    assert (found["base_url"], found["user"]) == (painter.url, "me")


def test_look_ahead_makes_it_two_at_a_time_and_back(deployed: Prefect, again) -> None:
    for setting, limit in (("1", 2), ("0", 1)):
        assert again(DARKROOM_LOOKAHEAD=setting).returncode == 0
        assert deployed.call("GET", "/work_pools/gpu")["concurrency_limit"] == limit


@pytest.mark.parametrize("users", [3, None])
def test_a_limit_that_the_user_set_stays(deployed: Prefect, again, users: int | None) -> None:
    assert again().returncode == 0
    deployed.call("PATCH", "/work_pools/gpu", {"concurrency_limit": users})
    try:
        for setting in ("0", "1"):
            done = again(DARKROOM_LOOKAHEAD=setting)
            assert deployed.call("GET", "/work_pools/gpu")["concurrency_limit"] == users
            assert "as set in Prefect" in done.stdout
    finally:
        deployed.call("PATCH", "/work_pools/gpu", {"concurrency_limit": 1})
