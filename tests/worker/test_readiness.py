"""Which WebUI is not ready: one that stays out of memory, one at which somebody's job stands still."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from gpu import canary
from gpu.lease import Lease
from store.settings import settings
from tests.requesting import PATIENCE, Stranger
from tests.servers import Prefect
from webui.client import WebUIClient
from webui.embedded.fault_kinds import ErrorAnswer
from webui.embedded.server import EmbeddedWebUI
from worker import readiness
from worker.readiness import Watched


@pytest.fixture
def watched(server: EmbeddedWebUI, monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setattr(settings(), "webui_url", server.url)
    return Watched()


@pytest.fixture
def run(deployed: Prefect, server: EmbeddedWebUI) -> Iterator[str]:
    """A run that has the GPU of the WebUI, by its lease."""
    run = deployed.queue(name="has-the-gpu")
    lease = Lease(server.url, run=run, name="has-the-gpu")
    lease.take()
    with temporary_settings({PREFECT_API_URL: deployed.api}):
        yield run
    lease.give_back()
    deployed.call("DELETE", f"/flow_runs/{run}")


def test_somebodys_job_that_stands_still_while_a_run_waits_for_it(
    watched: Watched, run: str, deployed: Prefect, server: EmbeddedWebUI, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.steps.hold()
    Stranger(server)
    assert server.steps.wait_for(0, PATIENCE)
    assert watched.look()
    assert watched.look(), "it has only begun to stand still"
    monkeypatch.setattr(readiness, "STUCK_AFTER", 0.0)
    assert watched.look(), "the run paints, by its state: the job may be its own"
    body = {"state": {"type": "RUNNING", "name": "Waiting", "message": "the WebUI is busy"}, "force": True}
    deployed.call("POST", f"/flow_runs/{run}/set_state", body)
    watched.look()
    assert "has stood still" in watched.reason
    assert not server.requests.of("POST", "/sdapi/v1/interrupt")
    server.steps.advance(1)
    monkeypatch.setattr(readiness, "STUCK_AFTER", 60.0)
    assert watched.look()
    assert not watched.reason


def test_a_small_picture_is_sent_while_nothing_is_there_and_again_after_a_growing_pause(
    watched: Watched, server: EmbeddedWebUI, client: WebUIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watched.look()
    assert not watched.reason
    canary.mark(server.url)
    assert "was out of memory" in watched.reason, "from this moment, before anything was sent"
    assert server.faults
    fault = server.faults.arm(ErrorAnswer(kind="error", like="out of memory", times=None))
    lease = Lease(server.url, run="another", name="another")
    lease.take()
    watched.look()
    assert not sent(server), "a run of ours is there"
    lease.give_back()
    for _ in range(3):
        watched.look()
    assert len(sent(server)) == 1, "the second one comes after a pause"
    assert "64×64 fails there too" in watched.reason
    monkeypatch.setattr(readiness, "CANARY_PAUSES", (0.0, 0.0))
    server.faults.disarm(fault)
    fresh = Watched()  # as after a restart of the worker
    fresh.look()
    assert len(sent(server)) == 2
    assert not fresh.reason
    assert not canary.is_marked(server.url)


def sent(server: EmbeddedWebUI) -> list[object]:
    return list(server.requests.of("POST", "/sdapi/v1/txt2img"))
