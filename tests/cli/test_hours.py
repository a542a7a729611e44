"""The commands of hours and timetables, and a job file that brings its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Prefect

JOB = """
name: moons
checkpoint: photo
images: 2
txt2img: {prompt: a moon, steps: 1, width: 64, height: 64}
when: {cron: "30 2 * * *", timezone: Europe/Berlin, missed: all, not_after: "06:00", at_most: 40}
"""


@pytest.fixture
def prefect(deployed: Prefect) -> Iterator[Prefect]:
    yield deployed
    deployed.darkroom("hours", "--clear")


def ok(prefect: Prefect, *arguments: str) -> str:
    done = prefect.darkroom(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_hours_are_set_shown_and_refused(prefect: Prefect) -> None:
    said = ok(prefect, "hours", "mon-fri 22:00-06:00, sat-sun 00:00-24:00 Europe/Berlin", "--exempt", "-10")
    assert "GPU hours: mon-fri 22:00-06:00, sat-sun 00:00-24:00 Europe/Berlin; at any time runs of priority -10" in said
    wrong = prefect.darkroom("hours", "noon till late")
    assert (wrong.returncode, "these are no GPU hours" in wrong.stderr) == (2, True)
    assert "mon-fri 22:00-06:00" in ok(prefect, "hours"), "as they were"
    assert ok(prefect, "hours", "--clear") == "GPU hours: always; now open\n"


def test_a_job_file_becomes_a_saved_job_with_a_timetable_that_is_paused_and_changed(
    prefect: Prefect, tmp_path: Path
) -> None:
    file = tmp_path / "moons.yaml"
    file.write_text(JOB)
    try:
        assert "generate/moons: 30 2 * * * Europe/Berlin, on" in ok(prefect, "deploy", str(file))
        saved = prefect.deployment("generate/moons")
        assert saved["parameters"]["job"]["name"] == "moons"
        assert saved["parameters"]["policy"] == {"missed": "all", "not_after": "06:00 Europe/Berlin", "at_most": 40}
        ok(prefect, "hours", "01:00-07:00 Europe/Berlin")
        [run] = runs(prefect)
        assert (run["deployment"], run["timetable"], run["skipped"]) == ("generate/moons", "moons", "")
        assert run["begins"] == run["due"]
        ok(prefect, "hours", "03:00-07:00 Europe/Berlin")
        [run] = runs(prefect)
        assert run["begins"] > run["due"], "at the opening"
        ok(prefect, "timetable", "when", "moons", "--interval", "21600", "--timezone", "Europe/Berlin")
        assert "every 6:00:00" in ok(prefect, "timetable", "pause", "moons")
        assert runs(prefect) == []
        ok(prefect, "timetable", "resume", "generate/moons")
        assert "every 6:00:00 Europe/Berlin, on" in ok(prefect, "deploy", str(file)), "the file has not changed"
        unknown = prefect.darkroom("timetable", "pause", "sunrise")
        assert (unknown.returncode, "no timetable" in unknown.stderr) == (1, True)
        file.write_text(JOB.replace("at_most: 40", "at_most: 1"))
        refused = prefect.darkroom("deploy", str(file))
        assert (refused.returncode, "one run makes 2 pictures" in refused.stderr) == (2, True)
    finally:
        prefect.call("DELETE", f"/deployments/{prefect.deployment('generate/moons')['id']}")


def runs(prefect: Prefect) -> list[dict[str, Any]]:
    return json.loads(ok(prefect, "timetable", "--json"))["runs"]


def test_a_job_that_is_queued_outside_the_hours_says_when_it_begins(prefect: Prefect, tmp_path: Path) -> None:
    """A job file with a timetable can be run at once, too."""
    file = tmp_path / "moons.yaml"
    file.write_text(JOB)
    begin = datetime.now(UTC) + timedelta(hours=12)
    ok(prefect, "hours", f"{begin:%H}:00-{begin:%H}:30 UTC")
    said = ok(prefect, "run", str(file), "--detach")
    assert "moons: the GPU hours are closed until" in said
    assert "queued moons" in said
