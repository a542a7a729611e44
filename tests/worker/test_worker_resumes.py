"""What `darkroom worker` starts again, what it does not, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.process import Child
from tests.servers import Prefect, free_port, paints, start_and_wait, webui_is_idle
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI
from worker.prefect_internals import WORKER_LABEL
from worker.recovery import worker_name


def test_runs_wait_while_the_webui_is_away(deployed: Prefect, tmp_path: Path) -> None:
    port = free_port()
    with deployed.worker(DARKROOM_WEBUI_URL=f"http://127.0.0.1:{port}") as child:
        until("it is said in the log", lambda: "the WebUI is not ready" in child.since_start())
        until("it is said at the pool", lambda: "On hold" in deployed.call("GET", "/work_pools/gpu")["description"])
        checked = deployed.darkroom("check")
        assert (checked.returncode, "MISSING  work pool gpu: On hold, the WebUI" in checked.stdout) == (1, True)
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


@pytest.mark.long
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
def test_a_run_that_is_deleted_stops_painting(deployed: Prefect, held: EmbeddedWebUI) -> None:
    run = start_and_wait(deployed, held)
    process = deployed.processes(run)[0]
    deployed.call("DELETE", f"/flow_runs/{run}")
    until("its process has ended", lambda: not process.is_running(), 20)
    until("the WebUI is idle", lambda: webui_is_idle(held), 5)


@pytest.mark.usefixtures("worker")
def test_a_cancelled_run_whose_process_ended_late_is_cancelled_and_not_resumed(deployed: Prefect) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"name": "late", "state": {"type": "SCHEDULED", "state_details": {"scheduled_time": later}}}
    run = deployed.call("POST", f"/deployments/{deployed.deployment()['id']}/create_flow_run", body)["id"]
    deployed.call("PATCH", f"/flow_runs/{run}/labels", {WORKER_LABEL: worker_name()})
    for state in ("RUNNING", "CANCELLING", "CRASHED"):  # the last one is what its process reports when it is terminated
        deployed.set_state(run, state, force=True)
    until("it is cancelled", lambda: deployed.run(run)["state_type"] == "CANCELLED", 30)
    assert deployed.run(run)["run_count"] == 1


@pytest.mark.long
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
