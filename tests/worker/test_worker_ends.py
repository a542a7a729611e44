"""How `darkroom worker` ends, and what the next one finds. No other worker may be there."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil
import pytest

from tests.servers import Prefect, start_and_wait, webui_is_idle
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI
from worker.recovery import CRASHES


@pytest.mark.parametrize("start", [pytest.param("cold", marks=pytest.mark.long), "warm"])
def test_a_worker_that_is_stopped_leaves_nothing_running(start: str, deployed: Prefect, held: EmbeddedWebUI) -> None:
    with deployed.worker(DARKROOM_COLD_START="1" if start == "cold" else "0") as child:
        run = start_and_wait(deployed, held)
        family = psutil.Process(child.pid).children(recursive=True)
        os.kill(child.pid, signal.SIGTERM)
        until("the worker is gone", lambda: not child.alive, 45)
    until("its processes are gone", lambda: not [p for p in family if p.is_running() and p.status() != "zombie"])
    until("the WebUI is idle", lambda: webui_is_idle(held), 20)
    assert deployed.run(run)["state_type"] != "RUNNING"
    held.steps.step_time = 0.0
    with deployed.worker():
        until("the run resumes", lambda: deployed.run(run)["state_type"] == "COMPLETED")
    assert CRASHES not in deployed.run(run)["labels"], "it was not to blame"


def test_what_a_killed_worker_leaves_is_resumed_by_the_next(deployed: Prefect, held: EmbeddedWebUI) -> None:
    with deployed.worker() as child:
        run = start_and_wait(deployed, held)
        process = deployed.processes(run)[0]
        child.kill()
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have died with its worker's group
            process.kill()
    held.steps.step_time = 0.0
    with deployed.worker():
        until("the run resumes", lambda: deployed.run(run)["state_type"] == "COMPLETED")
    assert CRASHES not in deployed.run(run)["labels"], "it was not to blame"


@pytest.mark.long
def test_a_run_that_was_taken_and_never_begun_goes_back_into_the_queue(deployed: Prefect) -> None:
    """As when a worker dies while it starts a process: no heartbeat ever tells Prefect."""
    run = deployed.queue(name="lost")
    deployed.set_state(run, "PENDING", force=True)
    with deployed.worker():
        assert deployed.ends(run, 90) == "COMPLETED"
