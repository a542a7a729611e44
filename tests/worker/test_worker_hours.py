"""GPU hours as the worker keeps them, and missed slots as it drops them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.variables import Variable

from backlog.timetable import HOURS
from tests.servers import Prefect, paints
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI
from worker.missed import lay_out_missed

FORM = {"prompt": "a lighthouse", "width": 64, "height": 64}


@pytest.fixture
def prefect(deployed: Prefect) -> Iterator[Prefect]:
    with temporary_settings({PREFECT_API_URL: deployed.api}):
        yield deployed
        Variable.unset(HOURS)


def closed(exempt: int | None = None) -> dict[str, Any]:
    """Hours that begin in twelve hours."""
    begin = datetime.now(UTC) + timedelta(hours=12)
    return {"windows": [f"{begin:%H}:00-{begin:%H}:30"], **({} if exempt is None else {"exempt": exempt})}


def set_hours(value: Any) -> None:
    Variable.set(HOURS, value, overwrite=True)


def test_outside_the_hours_runs_wait_and_what_is_under_way_goes_on_at_the_next_opening(
    prefect: Prefect, held: EmbeddedWebUI
) -> None:
    """Closed while a run paints; a run that is exempt starts meanwhile; a wrong value changes nothing and is said."""
    job = {"name": "long", "checkpoint": "photo", "images": 3, "txt2img": FORM | {"steps": 20, "seed": 701}}
    with prefect.worker() as worker:
        run = prefect.create("generate/generate", {"job": job})
        until("it paints", lambda: paints(held, prefect, run))
        due = prefect.run(run)["expected_start_time"]
        set_hours(closed(exempt=-10))
        until("it has handed back", lambda: "the GPU hours are closed" in (prefect.run(run)["state"]["message"] or ""))
        assert prefect.run(run)["next_scheduled_start_time"] == due, "in its place"
        until("it is said", lambda: "On hold, the GPU hours are closed" in description(prefect))
        held.steps.step_time = 0.0
        waiting = prefect.queue(name="waits")
        interactive = prefect.create("generate/generate", {"job": small("now")}, labels={"darkroom.priority": -10})
        assert prefect.ends(interactive) == "COMPLETED"
        assert {prefect.run(one)["state_type"] for one in (run, waiting)} == {"SCHEDULED"}
        checked = prefect.darkroom("check")
        assert "MISSING  work pool gpu: On hold, the GPU hours are closed" in checked.stdout
        set_hours("noon till late")
        until("it is said", lambda: "the Prefect variable darkroom_hours is wrong" in worker.since_start())
        assert "MISSING  GPU hours: these are no GPU hours" in prefect.darkroom("check").stdout
        assert prefect.run(waiting)["state_type"] == "SCHEDULED"
        Variable.unset(HOURS)
        assert [prefect.ends(one) for one in (run, waiting)] == ["COMPLETED"] * 2
        assert prefect.run(run)["start_time"] < prefect.run(waiting)["start_time"]
        until("nothing is on hold", lambda: "On hold" not in description(prefect))
    asked = held.requests.of("POST", "/sdapi/v1/txt2img")
    seeds = [body["seed"] for _, _, task, body in asked if body and run[:8] in str(task)]
    assert [seed for seed in seeds if seed > 700] == [701, 702, 703], "each picture once"
    assert not list((prefect.home / "hand-back").iterdir())


def small(name: str) -> dict[str, Any]:
    return {"name": name, "checkpoint": "photo", "txt2img": FORM | {"steps": 1, "seed": 1}}


def description(prefect: Prefect) -> str:
    return prefect.call("GET", "/work_pools/gpu")["description"] or ""


def saved(prefect: Prefect, name: str, policy: dict[str, Any], cron: str) -> str:
    """A saved job on a timetable; returns its deployment's id."""
    form = prefect.deployment()
    schedule = {"schedule": {"cron": cron, "timezone": "UTC"}, "active": True, "slug": name}
    body = {"name": name, "flow_id": form["flow_id"], "work_pool_name": "gpu", "entrypoint": form["entrypoint"]}
    body |= {"parameters": {"job": small(name), "policy": policy}, "schedules": [schedule], "pull_steps": []}
    return prefect.call("POST", "/deployments/", body)["id"]


def runs_of(prefect: Prefect, deployment: str, before: datetime) -> list[dict[str, Any]]:
    due = {"expected_start_time": {"before_": before.isoformat()}}
    body = {"deployments": {"id": {"any_": [deployment]}}, "flow_runs": due, "sort": "EXPECTED_START_TIME_ASC"}
    return prefect.call("POST", "/flow_runs/filter", body)


@pytest.mark.long
@pytest.mark.timeout(200)
def test_after_days_off_each_saved_job_catches_up_by_its_policy(prefect: Prefect) -> None:
    """Hourly slots of the last six hours, laid out as after an absence; what is skipped says why."""
    now = datetime.now(UTC)
    ago, hourly = now - timedelta(hours=6), f"{(now - timedelta(minutes=20)).minute} * * * *"
    policies: dict[str, dict[str, Any]] = {
        "latest": {},
        "all": {"missed": "all", "at_most": 4},
        "none": {"missed": "none"},
    }
    policies["late"] = {"missed": "all", "not_after": f"{now - timedelta(minutes=5):%H:%M}"}
    ids = {name: saved(prefect, f"hourly-{name}", policy, hourly) for name, policy in policies.items()}
    try:
        for one in ids.values():
            times = {"start_time": ago.isoformat(), "end_time": now.isoformat(), "max_runs": 100, "min_runs": 100}
            prefect.call("POST", f"/deployments/{one}/schedule", times)
        for known in prefect.call("POST", "/work_pools/gpu/workers/filter", {}):  # as if none had been there for long
            prefect.call("DELETE", f"/work_pools/gpu/workers/{quote(known['name'])}")
        with prefect.worker():
            found = {}
            for name, one in ids.items():
                found[name] = [prefect.ended(run["id"]) for run in runs_of(prefect, one, now)]
        assert {len(runs) for runs in found.values()} == {6}
        ended = {name: [run["state_name"] for run in runs] for name, runs in found.items()}
        assert ended == {
            "latest": ["Skipped"] * 5 + ["Completed"],
            "all": ["Completed"] * 4 + ["Skipped"] * 2,
            "none": ["Skipped"] * 6,
            "late": ["Skipped"] * 6,
        }
        assert found["latest"][0]["state_type"] == "CANCELLED"
        reasons = {name: runs[-1]["state"]["message"] for name, runs in found.items()}
        assert "at most 4 pictures a night" in reasons["all"]
        assert reasons["none"] == "missed: no run could be started at its time"
        assert "did not begin by" in reasons["late"]
    finally:
        for one in ids.values():
            prefect.call("DELETE", f"/deployments/{one}")


async def lay_out(start: datetime, end: datetime) -> None:
    async with get_client() as client:
        await lay_out_missed(client, start, end)


def test_all_missed_slots_are_laid_out_once(prefect: Prefect) -> None:
    one = saved(prefect, "every-minute", {"missed": "all"}, "* * * * *")
    other = saved(prefect, "only-the-latest", {}, "* * * * *")
    start = datetime.fromisoformat(prefect.call("GET", f"/deployments/{one}")["schedules"][0]["updated"])
    end = start + timedelta(minutes=5)
    try:
        for _ in range(2):
            asyncio.run(lay_out(start - timedelta(days=3), end))
        found = [run["expected_start_time"] for run in runs_of(prefect, one, end)]
        assert len(found) == len(set(found)) == 5, "none from before it was made"
    finally:
        for each in (one, other):
            prefect.call("DELETE", f"/deployments/{each}")
