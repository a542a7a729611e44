"""`darkroom worker`, with runs that start cold and runs that start warm: the same in every way but the time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil
import pytest

from services.process import Child
from tests.servers import Prefect, start_and_wait, webui_is_idle
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI
from worker.recovery import CRASHES


@pytest.fixture(scope="module", params=[pytest.param("cold", marks=pytest.mark.long), "warm"])
def worker(request: pytest.FixtureRequest, deployed: Prefect) -> Iterator[Child]:
    with deployed.worker(DARKROOM_COLD_START="1" if request.param == "cold" else "0") as child:
        yield child


def test_a_run_is_painted_and_leaves_no_process(worker: Child, deployed: Prefect) -> None:
    run = deployed.queue()
    assert deployed.ends(run) == "COMPLETED"
    until("its processes are gone", lambda: not deployed.processes(run))
    assert "Beginning flow run" in (deployed.home / "logs" / "runs.log").read_text(), "its output goes to a file"


def test_the_process_is_started_as_asked_for(
    worker: Child, deployed: Prefect, held: EmbeddedWebUI, request: pytest.FixtureRequest
) -> None:
    run = start_and_wait(deployed, held)
    command = " ".join(deployed.processes(run)[0].cmdline())
    assert ("fork_client" in command) == (request.node.callspec.params["worker"] == "warm"), command
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


def test_a_killed_run_resumes_and_its_job_is_interrupted(worker: Child, deployed: Prefect, held: EmbeddedWebUI) -> None:
    run = start_and_wait(deployed, held)
    deployed.processes(run)[0].kill()
    until("the WebUI is idle", lambda: webui_is_idle(held), 15)
    held.steps.step_time = 0.0
    until("it is through", lambda: deployed.run(run)["state_type"] == "COMPLETED")
    until("nothing of it is left", lambda: not deployed.processes(run))
    assert deployed.run(run)["labels"][CRASHES] == 1


def test_a_run_that_fails_is_failed(worker: Child, deployed: Prefect) -> None:
    assert deployed.ends(deployed.queue(checkpoint="no such checkpoint")) == "FAILED"


@pytest.mark.timeout(200)
def test_a_run_that_is_stopped_goes_on_and_is_killed_the_second_time(
    worker: Child, deployed: Prefect, held: EmbeddedWebUI
) -> None:
    run = start_and_wait(deployed, held)
    for _ in range(2):
        stop_for_a_while(its_own_process(worker, deployed, run))
    held.steps.step_time = 0.0
    until("it is through", lambda: deployed.run(run)["state_type"] == "COMPLETED")
    assert deployed.run(run)["labels"][CRASHES] == 1
    assert "was stopped (SIGSTOP) for 20 s and is let go on" in worker.since_start()


def its_own_process(worker: Child, deployed: Prefect, run: str) -> psutil.Process:
    """The one that paints: that of a warm run is a fork of the fork server."""
    family = psutil.Process(worker.pid).children(recursive=True)
    forks = [one for one in family if "fork_server" in " ".join(one.parent().cmdline())]
    return forks[0] if forks else deployed.processes(run)[0]


def stop_for_a_while(process: psutil.Process) -> None:
    """Stop it, and wait until somebody has let it go on or killed it."""
    process.suspend()
    until("it is stopped", lambda: process.status() == psutil.STATUS_STOPPED)
    with contextlib.suppress(psutil.NoSuchProcess):
        until("it is stopped no more", lambda: process.status() != psutil.STATUS_STOPPED)
