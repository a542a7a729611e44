"""prefect.yaml: nothing in it that Prefect would ignore, and every schedule belongs to a job that can run."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.manifest import FILE, read_manifest
from flows.job import GenerationJob

MANIFEST = read_manifest()
SCHEDULES = [(entry, schedule) for entry in MANIFEST.deployments for schedule in entry.schedules]


@pytest.mark.parametrize("entry", MANIFEST.deployments, ids=lambda entry: entry.name)
def test_the_entrypoint_is_a_flow_named_like_its_function(entry: Any) -> None:
    module, _, name = entry.entrypoint.rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    assert flow.name == name
    assert set(entry.parameters) <= set(inspect.signature(flow.fn).parameters)


@pytest.mark.parametrize(("entry", "schedule"), SCHEDULES, ids=lambda one: getattr(one, "slug", ""))
def test_a_schedule_is_off_and_its_deployment_holds_a_whole_job(entry: Any, schedule: Any) -> None:
    assert not schedule.active
    if entry.name == "tidy":
        assert entry.parameters["dry_run"] is True
        return
    assert GenerationJob.model_validate(entry.parameters["job"]).name == entry.name == schedule.slug


def test_of_the_forms_only_tidy_has_a_schedule() -> None:
    assert {entry.name for entry, _ in SCHEDULES} == {"nightly", "every-six-hours", "first-monday", "tidy"}


def test_the_examples_show_each_kind_of_schedule_and_a_time_zone() -> None:
    kinds = {next(k for k in ("cron", "interval", "rrule") if getattr(s, k)) for _, s in SCHEDULES}
    assert kinds == {"cron", "interval", "rrule"}
    assert any(schedule.timezone != "UTC" for _, schedule in SCHEDULES)


def test_nothing_is_pulled_and_the_pool_is_gpu() -> None:
    assert MANIFEST.pull == []
    assert {entry.work_pool.name for entry in MANIFEST.deployments} == {"gpu"}


def changed(tmp_path: Path, where: tuple[str | int, ...], change: dict[str, Any]) -> Path:
    """A copy of prefect.yaml with some keys changed at one place; -1 is the last deployment, which has a schedule."""
    content = yaml.safe_load(FILE.read_text())
    place = content
    for step in where:
        place = place[step]
    place |= change
    file = tmp_path / "prefect.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.parametrize(
    ("where", "key"),
    [
        ((), "deployment"),
        (("deployments", 0), "schedule"),
        (("deployments", 0, "work_pool"), "queue"),
        (("deployments", -1, "schedules", 0), "time_zone"),
    ],
)
def test_an_unknown_key_is_refused(tmp_path: Path, where: tuple[str | int, ...], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        read_manifest(changed(tmp_path, where, {key: "x"}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"interval": 60}, "Only one of"),
        ({"rrule": None}, "interval, cron, or rrule"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"rrule": None, "cron": "often"}, "cron"),
        ({"parameters": {"job": {}}}, "emptied by Prefect .* make the job a deployment of its own"),
    ],
)
def test_a_wrong_schedule_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_manifest(changed(tmp_path, ("deployments", -1, "schedules", 0), change))
