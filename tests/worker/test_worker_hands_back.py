"""Runs that hand back and go on later: when they are asked to, and when the WebUI goes away under them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.job_log import JobLog, Turn
from flows.handback import ask_to_hand_back
from services.process import Child
from store.settings import settings
from tests.servers import Prefect, free_port, paints
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI

FORM = {"prompt": "a lighthouse", "width": 64, "height": 64}


def handed_back(deployed: Prefect, run: str) -> list[str]:
    """The reasons for which a run has handed back."""
    return [
        state["message"]
        for state in deployed.states(run)
        if state["name"] == "AwaitingRetry" and state["message"].startswith("handed back")
    ]


def test_a_run_that_is_asked_hands_back_and_goes_on_with_its_pictures(
    deployed: Prefect, held: EmbeddedWebUI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings(), "home", deployed.home)
    job = {"name": "asked", "checkpoint": "photo", "images": 3, "txt2img": FORM | {"steps": 4, "seed": 501}}
    with deployed.worker():
        run = deployed.create("generate/generate", {"job": job})
        until("it paints", lambda: paints(held, deployed, run))
        due = deployed.run(run)["expected_start_time"]
        ask_to_hand_back(run, "somebody is in a hurry")
        until("it has handed back", lambda: handed_back(deployed, run))
        held.steps.step_time = 0.0
        assert deployed.ends(run) == "COMPLETED"
        until("its processes are gone", lambda: not deployed.processes(run))
    [reason] = handed_back(deployed, run)
    assert "somebody is in a hurry" in reason
    back = next(state for state in deployed.states(run) if state["message"] == reason)
    assert back["state_details"]["scheduled_time"] == due, "its old place"
    asked = held.requests.of("POST", "/sdapi/v1/txt2img")
    seeds = [body["seed"] for _, _, task, body in asked if body and run[:8] in str(task)]
    assert [seed for seed in seeds if seed > 500] == [501, 502, 503]
    assert reason in deployed.logs(run)
    for line in deployed.logs(run):
        assert "Traceback" not in line
        assert "Crash" not in line
        assert line != "Finished in state Running()"
    assert not list((deployed.home / "hand-back").iterdir())


class OwnWebUI:
    """The embedded WebUI as a process of its own, to be killed and started again at the same address."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = JobLog(home / "jobs.jsonl")
        command = [sys.executable, "-m", "webui.embedded", "--port", str(self.port), "--folder", str(home / "webui")]
        # Slow enough to be killed in the middle of a picture; 404 for two seconds after its port is open, as Forge.
        self._command = [*command, "--job-log", str(self.log.path), "--step-time", "0.1", "--startup-time", "2"]
        self._said = home / "webui.log"
        self.start()

    def start(self) -> None:
        self.child = Child("webui", self._command, log=self._said, env=dict(os.environ))
        self.child.wait_until(lambda: self.child.listens_on(self.port), 60)

    def finished(self, runs: list[str]) -> list[Turn]:
        """The pictures that the WebUI has finished, in order. An answer may not have arrived yet, or be lost."""
        return [turn for turn in self.log.turns(runs) if "-txt2img-" in turn.task]


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[OwnWebUI]:
    webui = OwnWebUI(tmp_path)
    yield webui
    webui.child.kill()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_webui_that_is_killed_costs_no_run_and_no_finished_picture(deployed: Prefect, webui: OwnWebUI) -> None:
    """Twelve queued runs, the first one a batch."""
    stage = FORM | {"steps": 5}
    jobs = [{"name": f"b{n}", "checkpoint": "photo", "txt2img": stage | {"seed": n}} for n in (1, 2, 3)]
    runs = [deployed.create("batch/batch", {"name": "batch", "jobs": jobs})]
    for number in range(11):
        job = {"name": f"g{number}", "checkpoint": "photo", "txt2img": stage | {"seed": 10 + number}}
        runs.append(deployed.create("generate/generate", {"job": job}))
    with deployed.worker(DARKROOM_WEBUI_URL=webui.url, DARKROOM_RETRY_BACKOFF="0.5"):
        until("the batch's first picture is kept", lambda: kept(deployed, runs))
        webui.child.kill()
        safe = kept(deployed, runs)
        until("the batch hands back", lambda: handed_back(deployed, runs[0]))
        until("the worker holds", lambda: "On hold" in deployed.call("GET", "/work_pools/gpu")["description"])
        until("no run holds a slot", lambda: not active(deployed))
        webui.start()
        until("more are kept", lambda: len(kept(deployed, runs)) > 4, 120)
        webui.child.kill()
        safe += kept(deployed, runs)
        until("the worker holds", lambda: "On hold" in deployed.call("GET", "/work_pools/gpu")["description"])
        webui.start()
        assert [deployed.ends(run, 120) for run in runs] == ["COMPLETED"] * 12
    finished = webui.finished(runs)
    assert list(dict.fromkeys(turn.run for turn in finished)) == [run[:8] for run in runs], "in their order"
    assert set(safe) <= set(kept(deployed, runs)), "a picture that was kept was painted again"
    assert len(kept(deployed, runs)) == 14
    assert len(finished) - 14 <= 2, "each kill costs at most the picture whose answer was under way"
    [reason, *_] = handed_back(deployed, runs[0])
    assert "the WebUI is away: GET" in reason
    assert "could not be reached" in reason
    assert reason in deployed.logs(runs[0])
    assert not [line for line in deployed.logs(runs[0]) if "Traceback" in line]


def kept(deployed: Prefect, runs: list[str]) -> list[str]:
    """The task ids of the pictures that lie whole in the folders of their runs: these are never painted again."""
    notes = [note for run in runs for note in (deployed.home / "runs" / run).glob("txt2img-*.json")]
    return [json.loads(note.read_bytes())["request"]["task_id"] for note in notes]


def active(deployed: Prefect) -> list[Any]:
    holding = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}}
    return list(deployed.call("POST", "/flow_runs/filter", holding))
