"""What `darkroom worker` starts again, what it does not, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.process import Child
from tests.servers import Prefect, free_port, paints, start_and_wait, until
from webui.embedded.server import EmbeddedWebUI


def test_runs_wait_while_the_webui_is_away(deployed: Prefect, tmp_path: Path) -> None:
    port = free_port()
    with deployed.worker(DARKROOM_WEBUI_URL=f"http://127.0.0.1:{port}") as child:
        until("it is said in the log", lambda: "the WebUI is not ready" in child.since_start())
        until("it is said at the pool", lambda: "On hold" in deployed.call("GET", "/work_pools/gpu")["description"])
        run = deployed.queue(name="waits")
        assert deployed.run(run)["state_type"] == "SCHEDULED"
        with EmbeddedWebUI(port=port, folder=tmp_path):
            assert deployed.ends(run) == "COMPLETED"
            until("nothing is on hold", lambda: "On hold" not in deployed.call("GET", "/work_pools/gpu")["description"])
    assert deployed.run(run)["run_count"] == 1


@pytest.fixture(scope="module")
def worker(deployed: Prefect) -> Iterator[Child]:
    with deployed.worker() as child:
        yield child


@pytest.mark.usefixtures("worker")
def test_a_run_whose_process_dies_three_times_is_put_aside(deployed: Prefect, held: EmbeddedWebUI) -> None:
    run = start_and_wait(deployed, held)
    for death in range(3):
        until("it paints", lambda: paints(held, deployed, run))
        process = deployed.processes(run)[0]
        process.kill()
        until(f"death {death} is seen", lambda: deployed.run(run)["state_type"] != "RUNNING")
    ended = until("it is put aside", lambda: found if (found := deployed.run(run))["state_type"] == "FAILED" else None)
    assert ended["state_name"] == "Quarantined"
    assert "died 3 times" in ended["state"]["message"]
    assert "Retry" in ended["state"]["message"]


@pytest.mark.usefixtures("worker")
@pytest.mark.timeout(240)
def test_a_retry_right_after_a_cancel_waits_for_a_minute_and_runs(deployed: Prefect, held: EmbeddedWebUI) -> None:
    run = start_and_wait(deployed, held)
    deployed.set_state(run, "CANCELLING")
    assert deployed.ends(run) == "CANCELLED"
    held.steps.step_time = 0.0
    retry = {"type": "SCHEDULED", "name": "AwaitingRetry"}
    deployed.call("POST", f"/flow_runs/{run}/set_state", {"state": retry})
    until("it says why it waits", lambda: "less than a minute" in (deployed.run(run)["state"]["message"] or ""))
    until("it is through", lambda: deployed.run(run)["state_type"] == "COMPLETED", 120)
