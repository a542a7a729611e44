"""The GPU hours close in the middle of each stage: the run stops after its picture, and goes on unharmed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import Abort
from prefect.flow_engine import run_flow

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows import pipeline
from flows.generate import generate
from flows.handback import ask_to_hand_back, check_not_asked
from flows.job import GenerationJob
from tests.servers import free_port
from webui.embedded.server import EmbeddedWebUI

ENDPOINTS = {"txt2img": "txt2img", "img2img": "img2img", "adetailer": "img2img", "upscale": "extra-single-image"}
JOB: dict[str, Any] = {
    "name": "closing",
    "checkpoint": "photo",
    "images": 2,
    "txt2img": {"prompt": "portrait of a queen", "steps": 2, "width": 128, "height": 128, "seed": 61},
    "img2img": {"steps": 2, "denoising_strength": 0.8},
    "adetailer": [{"ad_model": "mediapipe_face_full"}],
    "upscale": {"upscaler": "Lanczos", "factor": 1.5},
}


def sent(server: EmbeddedWebUI) -> int:
    """Requests for pictures so far."""
    return sum(len(server.requests.of("POST", f"/sdapi/v1/{one}")) for one in set(ENDPOINTS.values()))


@pytest.mark.parametrize(
    "stage", [pytest.param(one, marks=pytest.mark.long if number % 3 else ()) for number, one in enumerate(ENDPOINTS)]
)
def test_a_run_that_is_asked_in_the_middle_of_a_stage_goes_on_unharmed(
    stage: str, server: EmbeddedWebUI, prefect_server: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = 2 * list(ENDPOINTS).index(stage) + 1  # pictures that are sent by the middle of the stage

    def close(run: Any) -> None:
        if sent(server) >= before and not closed:
            closed.append(sent(server))
            ask_to_hand_back(run, "the GPU hours are closed")
        check_not_asked(run)

    closed: list[int] = []
    monkeypatch.setattr(pipeline, "check_not_asked", close)
    given: dict[str, Any] = {"job": GenerationJob.model_validate(JOB), "webui": WebUI(base_url=server.url)}
    given["gallery"] = Gallery(folder=str(home / "gallery"))
    with get_client(sync_client=True) as client:
        flow = client.create_flow(generate)
        deployment = client.create_deployment(flow, f"closing-{free_port()}", enforce_parameter_schema=False)
        run = client.create_flow_run_from_deployment(deployment)
        with pytest.raises(Abort):
            run_flow(generate, client.read_flow_run(run.id), given)
        waits = client.read_flow_run(run.id)
        assert (waits.state_name, waits.next_scheduled_start_time) == ("AwaitingRetry", run.expected_start_time)
        assert closed == [sent(server)], "the picture that is sent is finished, and no further one is sent"
        run_flow(generate, client.read_flow_run(run.id), given)
    assert len(list((home / "gallery").rglob("*.png"))) == 2
    assert sent(server) == 8, "two pictures through four stages: nothing is painted twice"
