"""A stage is one file and one line: the line is the field below, the file is fifth_stage.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, TaskRunFilter, TaskRunFilterFlowRunId

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.generate import generate
from flows.job import GenerationJob
from tasks.form import field
from tasks.preflight import JobRefused
from tests.flows.fifth_stage import GLAZE, Glaze
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI


class FiveStages(GenerationJob):
    glaze: Annotated[Glaze | None, GLAZE] = field(None, "Glaze", "Repaint each picture once more.", 15)


SMALL = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "seed": 5, "sampler_name": "Euler"}


def job(**glaze: Any) -> FiveStages:
    given = {
        "name": "five",
        "checkpoint": "photo",
        "images": 2,
        "txt2img": SMALL,
        "glaze": {"checkpoint": "ink"} | glaze,
    }
    return FiveStages.model_validate(given)


def test_a_fifth_stage_runs(server: EmbeddedWebUI, prefect_server: None, home: Path) -> None:
    published = generate(job(), WebUI(base_url=server.url), Gallery(folder=str(home / "gallery")))
    assert [(one.stage, one.seed, one.checkpoint, one.note) for one in published] == [
        ("glaze", 5, "ink", "glazed"),
        ("glaze", 6, "ink", "glazed"),
    ]
    history = json.loads(Path(published[0].path).with_suffix(".json").read_text())
    assert history["made_from"]["picture"]["stage"] == "txt2img"

    def names() -> set[str]:
        with get_client(sync_client=True) as client:
            [run] = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=["five"])))
            mine = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]))
            return {one.name for one in client.read_task_runs(task_run_filter=mine)}

    wanted = {"glaze 2/2 · seed 6", "switch to ink", "progress · glaze"}
    until("its tasks are written down", lambda: wanted <= names())


def test_preflight_asks_what_the_fifth_stage_asks(server: EmbeddedWebUI, prefect_server: None, home: Path) -> None:
    wrong = job(checkpoint="inc", sampler_name="euler")
    with pytest.raises(JobRefused, match=r"no checkpoint 'inc' .*no sampler 'euler' \(did you mean 'Euler'"):
        generate(wrong, WebUI(base_url=server.url), Gallery(folder=str(home / "gallery")))
    assert not [path for _, path, *_ in server.requests if path.endswith("2img")]


def test_its_form_is_part_of_the_jobs() -> None:
    assert "glaze" in FiveStages.model_json_schema()["properties"]
    assert [stage.name for stage in FiveStages.stages()] == [
        "txt2img",
        "img2img",
        "adetailer",
        "upscale",
        "raw",
        "glaze",
    ]
    assert [step.stage.weight(step) for step in job().steps()] == [2, 2]
