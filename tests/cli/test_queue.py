"""`darkroom queue`, `run --detach`, `capture` and `bookmark`, as a person or a script calls them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tests.rest import PROJECT
from tests.servers import Prefect
from webui import infotext

pytestmark = pytest.mark.timeout(400)  # up to a dozen commands, each a process that imports Prefect

UUID = r"[0-9a-f]{8}-[0-9a-f-]{27}"
SETTINGS = "Steps: 4, Sampler: Euler, Seed: 12, Size: 64x96, Model: photo, Strange thing: 7"
TEXT = f"a pasted cat\nNegative prompt: fog\n{SETTINGS}"


@pytest.fixture(autouse=True)
def empty(deployed: Prefect) -> None:
    for run in deployed.call("POST", "/flow_runs/filter", {}):
        deployed.call("DELETE", f"/flow_runs/{run['id']}")


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listed(deployed: Prefect, *options: str) -> list[dict[str, Any]]:
    return list(json.loads(said(deployed.darkroom("queue", "list", "--json", *options))))


@pytest.fixture
def three(deployed: Prefect) -> dict[str, str]:
    return {name: deployed.queue(name=name) for name in ("one", "two", "three")}


def test_the_queue_is_listed_and_moved(deployed: Prefect, three: dict[str, str]) -> None:
    assert "three: moved" in said(deployed.darkroom("queue", "move", three["three"][:8], "top"))
    said(deployed.darkroom("queue", "move", three["two"], three["one"]))
    said(deployed.darkroom("queue", "priority", three["one"], "-3"))
    assert [(task["name"], task["position"]) for task in listed(deployed)] == [("one", 1), ("three", 2), ("two", 3)]
    table = said(deployed.darkroom("queue", "list"))
    assert [line.split()[2] for line in table.splitlines() if re.match(r"\s*\d+ +\w{8} ", line)] == [
        "one",
        "three",
        "two",
    ]
    assert "3 pending" in table


def test_a_task_is_edited_shown_and_duplicated(deployed: Prefect, three: dict[str, str]) -> None:
    one = three["one"]
    said(deployed.darkroom("queue", "edit", one, "txt2img.steps=9", "txt2img.prompt=a: b, c", "images=2"))
    shown = yaml.safe_load(said(deployed.darkroom("queue", "show", one)))
    assert shown["params"]["job"]["txt2img"]["prompt"] == "a: b, c"
    assert (shown["params"]["job"]["txt2img"]["steps"], shown["pictures"]) == (9, 2)
    assert shown["link"].endswith(one)
    both = deployed.darkroom("queue", "edit", one, "images=2", "images.x=1")
    assert (both.returncode, both.stderr) == (
        2,
        "images.x=1: images.x is part of images, which has a value of its own\n",
    )
    wrong = deployed.darkroom("queue", "edit", one, "txt2img.steps=900")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "txt2img.steps" in wrong.stderr and len(wrong.stderr.splitlines()) == 1
    assert re.findall(UUID, said(deployed.darkroom("queue", "duplicate", one, "name=four")))[0] not in three.values()
    assert deployed.darkroom("queue", "show", "ffff").returncode == 2


def test_tasks_are_cancelled_retried_and_removed(deployed: Prefect, three: dict[str, str]) -> None:
    assert said(deployed.darkroom("queue", "cancel", *three.values())).count(": cancelled\n") == 3
    assert {task["status"] for task in listed(deployed, "--history")} == {"cancelled"}
    assert "one: waits again" in said(deployed.darkroom("queue", "retry", three["one"]))
    assert "2 tasks removed" in said(deployed.darkroom("queue", "clear", "cancelled"))
    said(deployed.darkroom("queue", "delete", three["one"]))
    gone = deployed.darkroom("queue", "show", three["one"])
    assert (gone.returncode, gone.stderr) == (1, f"there is no task {three['one']}: was it deleted?\n")


def test_a_pause_is_shown_and_lifted(deployed: Prefect) -> None:
    said(deployed.darkroom("queue", "pause"))
    assert deployed.call("GET", "/work_pools/gpu")["is_paused"]
    assert "paused: `darkroom queue resume`" in said(deployed.darkroom("queue", "list"))
    said(deployed.darkroom("queue", "resume"))
    assert not deployed.call("GET", "/work_pools/gpu")["is_paused"]


def test_a_picture_or_a_pasted_infotext_is_a_job(deployed: Prefect, tmp_path: Path) -> None:
    picture = tmp_path / "cat.png"
    picture.write_bytes(infotext.to_png(Image.new("RGB", (64, 96)), TEXT))
    done = deployed.darkroom("run", str(picture), "--detach", "--priority", "-2")
    assert "not carried over: Strange thing: 7" in done.stderr
    pasted = subprocess.run(
        [sys.executable, "-m", "cli.app", "run", "--paste", "--detach"],
        input=TEXT,
        env=deployed.environment(),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert pasted.returncode == 0, pasted.stderr
    first, second = listed(deployed)
    assert (first["name"], first["priority"], second["name"]) == ("cat", -2, "pasted")
    assert first["params"]["job"]["txt2img"] == second["params"]["job"]["txt2img"]
    assert second["prompt"] == "a pasted cat"
    no_job = tmp_path / "plain.png"
    Image.new("RGB", (8, 8)).save(no_job)
    for command in (["run", str(no_job)], ["capture", str(no_job)]):
        done = deployed.darkroom(*command)
        assert (done.returncode, done.stdout) == (2, "")
        assert "carries no infotext" in done.stderr and len(done.stderr.splitlines()) == 1
    said(deployed.darkroom("capture", str(picture), str(tmp_path / "cat.yaml")))
    assert yaml.safe_load((tmp_path / "cat.yaml").read_text()) == first["params"]["job"]


def test_a_bookmark_is_a_saved_job(deployed: Prefect, tmp_path: Path) -> None:
    task = deployed.queue(name="one")
    assert "deployment generate/favourite: created" in said(deployed.darkroom("bookmark", task, "favourite"))
    saved = deployed.deployment("generate/favourite")
    try:
        assert saved["parameters"]["job"]["txt2img"]["prompt"] == "a lighthouse"
        assert saved["parameters"]["job"]["name"] == "favourite"
        taken = deployed.darkroom("bookmark", task, "nightly")
        assert taken.returncode == 2
        assert "choose another" in taken.stderr
    finally:
        deployed.call("DELETE", f"/deployments/{saved['id']}")
