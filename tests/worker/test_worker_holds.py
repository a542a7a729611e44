"""Runs whose WebUI is not ready wait in the queue, and hold up nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from services.process import Child
from tests.servers import Prefect, free_port
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI


def description(deployed: Prefect) -> str:
    return deployed.call("GET", "/work_pools/gpu")["description"] or ""


def variable(deployed: Prefect) -> Any:
    found = deployed.call("POST", "/variables/filter", {"variables": {"name": {"any_": ["darkroom_on_hold"]}}})
    return found[0]["value"] if found else None


@pytest.fixture(scope="module")
def worker(deployed: Prefect) -> Iterator[Child]:
    with deployed.worker() as child:
        yield child


def block(deployed: Prefect, port: int) -> dict[str, Any]:
    """A connection block for a WebUI on this port; returns how a run's parameters refer to it."""
    name, url = f"on-{port}", f"http://127.0.0.1:{port}"
    known = deployed.call("GET", "/block_types/slug/webui")["id"]
    schemas = deployed.call("POST", "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [known]}}})
    body = {"name": name, "data": {"base_url": url}, "block_type_id": known, "block_schema_id": schemas[0]["id"]}
    deployed.call("POST", "/block_documents/", body)
    return {"$ref": {"block_document_slug": f"webui/{name}"}}


def queue(deployed: Prefect, name: str, webui: dict[str, Any] | None = None) -> str:
    txt2img = {"prompt": "a lighthouse", "steps": 1, "width": 64, "height": 64, "seed": 1}
    parameters: dict[str, Any] = {"job": {"name": name, "checkpoint": "photo", "txt2img": txt2img}}
    body = {"parameters": parameters | ({"webui": webui} if webui else {}), "state": {"type": "SCHEDULED"}}
    return deployed.call("POST", f"/deployments/{deployed.deployment()['id']}/create_flow_run", body)["id"]


def test_runs_for_a_webui_that_is_away_wait_and_others_go_on(worker: Child, deployed: Prefect, tmp_path: Path) -> None:
    port = free_port()
    other = block(deployed, port)
    waiting = [queue(deployed, f"other-{number}", other) for number in range(3)]
    until(
        "the first one is put off",
        lambda: "waits for its WebUI" in (deployed.run(waiting[0])["state"]["message"] or ""),
    )
    until("it is said", lambda: str(port) in description(deployed) and str(port) in str(variable(deployed)))
    assert deployed.ends(queue(deployed, "default")) == "COMPLETED"
    runs = [deployed.run(run) for run in waiting]
    assert [run["state_type"] for run in runs] == ["SCHEDULED"] * 3
    assert [run["run_count"] for run in runs] == [0] * 3, "none was started in vain"
    with EmbeddedWebUI(port=port, folder=tmp_path):
        assert [deployed.ends(run) for run in waiting] == ["COMPLETED"] * 3
    started = [deployed.run(run)["start_time"] for run in waiting]
    assert started == sorted(started), "from their old places"
    until("nothing is on hold", lambda: "On hold" not in description(deployed) and variable(deployed) is None)


def test_a_run_that_is_cancelled_while_it_waits_for_its_webui_stays_cancelled(
    worker: Child, deployed: Prefect, tmp_path: Path
) -> None:
    port = free_port()
    other = block(deployed, port)
    run = queue(deployed, "cancelled", other)
    until("it is put off", lambda: "waits for its WebUI" in (deployed.run(run)["state"]["message"] or ""))
    deployed.set_state(run, "CANCELLED")
    with EmbeddedWebUI(port=port, folder=tmp_path):
        until("it is ready", lambda: str(port) not in description(deployed))
        assert deployed.ends(queue(deployed, "after")) == "COMPLETED"
    assert deployed.run(run)["state_type"] == "CANCELLED"


def arm(painter: EmbeddedWebUI, **fault: Any) -> None:
    requests.post(f"{painter.url}/faults", json=fault, timeout=10).raise_for_status()


def canaries(painter: EmbeddedWebUI) -> int:
    asked = painter.requests.of("POST", "/sdapi/v1/txt2img")
    return sum("canary" in str(body.get("force_task_id")) for _, _, _, body in asked if body)


def test_after_out_of_memory_a_small_picture_shows_that_the_queue_may_go_on(
    worker: Child, deployed: Prefect, painter: EmbeddedWebUI
) -> None:
    before = canaries(painter)
    arm(painter, kind="error", like="out of memory", path="/sdapi/v1/txt2img")
    failed, following = queue(deployed, "too-large"), queue(deployed, "following")
    assert deployed.ends(failed) == "FAILED"
    assert deployed.ends(following) == "COMPLETED"
    assert canaries(painter) == before + 1
    assert painter.url not in description(deployed)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_webui_that_stays_out_of_memory_holds_the_queue_until_it_paints(
    worker: Child, deployed: Prefect, painter: EmbeddedWebUI
) -> None:
    before = canaries(painter)
    arm(painter, kind="error", like="out of memory", path="/sdapi/v1/txt2img", times=None)
    failed, following = queue(deployed, "too-large"), queue(deployed, "following")
    assert deployed.ends(failed) == "FAILED"
    until("it is said", lambda: "64×64 fails there too" in description(deployed))
    until("it is tried again", lambda: canaries(painter) >= before + 2)
    assert deployed.run(following)["run_count"] == 0
    assert painter.faults
    painter.faults.disarm()
    assert deployed.ends(following) == "COMPLETED"
    until("nothing is on hold", lambda: "On hold" not in description(deployed))
