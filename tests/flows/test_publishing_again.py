"""A retry on another day publishes under the same names: nothing is in the gallery twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry, Scheduled

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.generate import generate
from flows.job import GenerationJob
from tasks.txt2img import Txt2Img
from webui.embedded.server import EmbeddedWebUI


@pytest.mark.usefixtures("prefect_server")
def test_a_retry_on_the_next_day_publishes_under_the_same_names(server: EmbeddedWebUI, tmp_path: Path) -> None:
    job = GenerationJob(
        name="castle", checkpoint="ink", txt2img=Txt2Img(prompt="a castle", steps=1, width=64, height=64, seed=7)
    )
    parameters = {"job": job, "webui": WebUI(base_url=server.url), "gallery": Gallery(folder=str(tmp_path / "gallery"))}
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(generate, state=Scheduled(scheduled_time=yesterday))
        [first] = run_flow(generate, flow_run=client.read_flow_run(run.id), parameters=parameters)
        client.set_flow_run_state(run.id, AwaitingRetry(), force=True)
        [again] = run_flow(generate, flow_run=client.read_flow_run(run.id), parameters=parameters)
    date = yesterday.astimezone().strftime("%Y-%m-%d")
    assert first.path == again.path == str(tmp_path / "gallery" / date / "castle" / "castle-7-txt2img.png")
    assert len(list((tmp_path / "gallery").rglob("*.png"))) == 1
