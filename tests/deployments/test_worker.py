"""`darkroom worker`, with runs that start cold and runs that start warm: the same in every way but the time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest
import requests

from deployments.children import Child
from tests.deployments.conftest import Prefect, until
from webui.embedded.server import EmbeddedWebUI


@pytest.fixture(scope="module", params=["cold", "warm"])
def worker(request: pytest.FixtureRequest, deployed: Prefect) -> Iterator[Child]:
    with deployed.worker(DARKROOM_COLD_START="1" if request.param == "cold" else "0") as child:
        child.start = request.param
        yield child


@pytest.fixture
def held(painter: EmbeddedWebUI) -> Iterator[EmbeddedWebUI]:
    """A WebUI whose steps take long, until the test is over."""
    painter.steps.step_time = 0.5
    yield painter
    painter.steps.step_time = 0.0
    assert painter.wait_until_idle(30)


def paints(painter: EmbeddedWebUI, deployed: Prefect, run: str) -> bool:
    job = requests.get(f"{painter.url}/sdapi/v1/progress", timeout=10).json()["state"]
    return deployed.run(run)["state_type"] == "RUNNING" and job["sampling_step"] > 0


def start_and_wait(deployed: Prefect, held: EmbeddedWebUI) -> str:
    run = deployed.queue(steps=100, name="long")
    until("it paints", lambda: paints(held, deployed, run))
    return run


def webui_is_idle(painter: EmbeddedWebUI) -> bool:
    return requests.get(f"{painter.url}/sdapi/v1/progress", timeout=10).json()["state"]["job_count"] == 0


def test_a_run_is_painted_and_leaves_no_process(worker: Child, deployed: Prefect) -> None:
    run = deployed.queue()
    assert deployed.ends(run) == "COMPLETED"
    until("its processes are gone", lambda: not deployed.processes(run))
    commands = worker.since_start()
    assert "Beginning flow run" in commands, "its output goes to the worker's"


def test_the_process_is_started_as_asked_for(worker: Child, deployed: Prefect, held: EmbeddedWebUI) -> None:
    run = start_and_wait(deployed, held)
    command = " ".join(deployed.processes(run)[0].cmdline())
    assert ("warm_client" in command) == (worker.start == "warm"), command
    deployed.set_state(run, "CANCELLING")
    assert deployed.ends(run) == "CANCELLED"


def test_a_cancel_interrupts_the_webui_and_ends_the_process(
    worker: Child, deployed: Prefect, held: EmbeddedWebUI
) -> None:
    run = start_and_wait(deployed, held)
    deployed.set_state(run, "CANCELLING")
    until("the WebUI is idle", lambda: webui_is_idle(held), 10)
    assert deployed.ends(run) == "CANCELLED"
    until("its processes are gone", lambda: not deployed.processes(run))


def test_a_killed_run_is_crashed_its_job_interrupted_and_the_next_one_starts(
    worker: Child, deployed: Prefect, held: EmbeddedWebUI
) -> None:
    run = start_and_wait(deployed, held)
    deployed.processes(run)[0].kill()
    until("the WebUI is idle", lambda: webui_is_idle(held), 15)
    assert deployed.ends(run) == "CRASHED"
    until("nothing of it is left", lambda: not deployed.processes(run))
    held.steps.step_time = 0.0
    assert deployed.ends(deployed.queue(name="next")) == "COMPLETED"


def test_a_run_that_fails_is_failed(worker: Child, deployed: Prefect) -> None:
    assert deployed.ends(deployed.queue(checkpoint="no such checkpoint")) == "FAILED"


def test_a_waiting_run_starts_by_event_not_by_polling(worker: Child, deployed: Prefect) -> None:
    """With polling alone the mean would be half of the interval, 2 s, and each gap anything up to it."""
    runs = [deployed.queue(name=f"gap-{number}") for number in range(4)]
    for run in runs:
        assert deployed.ends(run) == "COMPLETED"
    history = [deployed.call("GET", f"/flow_run_states/?flow_run_id={run}") for run in runs]
    ended = [max(state["timestamp"] for state in states if state["type"] == "COMPLETED") for states in history]
    taken = [min(state["timestamp"] for state in states if state["type"] == "PENDING") for states in history]
    assert all(later > earlier for earlier, later in zip(ended, taken[1:], strict=False)), "two at a time"


def test_runs_are_taken_by_checkpoint(worker: Child, deployed: Prefect, painter: EmbeddedWebUI) -> None:
    first = deployed.queue("photo", steps=20, name="first")
    painter.steps.step_time = 0.2
    until("it runs", lambda: deployed.run(first)["state_type"] == "RUNNING")
    names = ["oil", "photo", "oil", "photo", "ink", "oil"]
    runs = [deployed.queue(name, name=f"{number}-{name}") for number, name in enumerate(names)]
    painter.steps.step_time = 0.0
    for run in runs:
        assert deployed.ends(run, 90) == "COMPLETED"
    started = sorted(zip(names, runs, strict=True), key=lambda one: deployed.run(one[1])["start_time"])
    order = [name for name, _ in started]
    assert order == ["photo", "photo", "oil", "oil", "oil", "ink"]


@pytest.mark.parametrize("start", ["cold", "warm"])
def test_a_worker_that_is_stopped_leaves_nothing_running(start: str, deployed: Prefect, held: EmbeddedWebUI) -> None:
    with deployed.worker(DARKROOM_COLD_START="1" if start == "cold" else "0") as child:
        run = start_and_wait(deployed, held)
        family = psutil.Process(child.pid).children(recursive=True)
        os.kill(child.pid, signal.SIGTERM)
        until("the worker is gone", lambda: not child.alive, 45)
    until("its processes are gone", lambda: not [p for p in family if p.is_running() and p.status() != "zombie"])
    until("the WebUI is idle", lambda: webui_is_idle(held), 20)
    assert deployed.run(run)["state_type"] != "RUNNING"
