"""`darkroom worker`, with runs that start cold and runs that start warm: the same in every way but the time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.process import Child
from tests.servers import Prefect, start_and_wait, until, webui_is_idle
from webui.embedded.server import EmbeddedWebUI


@pytest.fixture(scope="module", params=["cold", "warm"])
def worker(request: pytest.FixtureRequest, deployed: Prefect) -> Iterator[Child]:
    with deployed.worker(DARKROOM_COLD_START="1" if request.param == "cold" else "0") as child:
        yield child


def test_a_run_is_painted_and_leaves_no_process(worker: Child, deployed: Prefect) -> None:
    run = deployed.queue()
    assert deployed.ends(run) == "COMPLETED"
    until("its processes are gone", lambda: not deployed.processes(run))
    commands = worker.since_start()
    assert "Beginning flow run" in commands, "its output goes to the worker's"


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
