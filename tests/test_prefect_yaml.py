"""prefect.yaml: nothing in it that Prefect would ignore, and every timetable holds a job that can run."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
import yaml

from deployments.manifest import FILE, read_manifest
from flows.job import GenerationJob

MANIFEST = read_manifest()
SCHEDULES = [(planned, schedule) for planned in MANIFEST.deployments for schedule in planned.schedules]


@pytest.mark.parametrize("planned", MANIFEST.deployments, ids=lambda planned: planned.name)
def test_the_entrypoint_is_a_flow(planned) -> None:
    module, _, name = planned.entrypoint.rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    assert flow.name == planned.name
    assert set(planned.parameters) <= set(inspect.signature(flow.fn).parameters)


@pytest.mark.parametrize(("planned", "schedule"), SCHEDULES, ids=lambda one: getattr(one, "slug", ""))
def test_a_timetable_is_off_and_holds_a_whole_job(planned, schedule) -> None:
    assert not schedule.active
    assert set(schedule.parameters) == {"job"}
    job = GenerationJob.model_validate(schedule.parameters["job"])
    assert job.name == schedule.slug


def test_the_examples_show_each_kind_of_timetable_and_a_time_zone() -> None:
    kinds = {next(k for k in ("cron", "interval", "rrule") if getattr(s, k)) for _, s in SCHEDULES}
    assert kinds == {"cron", "interval", "rrule"}
    assert any(schedule.timezone != "UTC" for _, schedule in SCHEDULES)


def test_nothing_is_pulled_and_the_pool_is_gpu() -> None:
    assert MANIFEST.pull == []
    assert {planned.work_pool.name for planned in MANIFEST.deployments} == {"gpu"}


@pytest.mark.parametrize(
    ("where", "key"),
    [
        ((), "deployment"),
        (("deployments", 0), "schedule"),
        (("deployments", 0, "work_pool"), "queue"),
        (("deployments", 0, "schedules", 0), "time_zone"),
    ],
)
def test_an_unknown_key_is_refused(tmp_path: Path, where: tuple[str | int, ...], key: str) -> None:
    content = yaml.safe_load(FILE.read_text())
    place = content
    for step in where:
        place = place[step]
    place[key] = "x"
    file = tmp_path / "prefect.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=key):
        read_manifest(file)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"interval": 60}, "exactly one"), ({"timezone": "Mars/Olympus"}, "time zone"), ({"cron": "often"}, "cron")],
)
def test_a_wrong_timetable_is_refused(tmp_path: Path, change: dict, says: str) -> None:
    content = yaml.safe_load(FILE.read_text())
    content["deployments"][0]["schedules"][0] |= change
    file = tmp_path / "prefect.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=says):
        read_manifest(file)
