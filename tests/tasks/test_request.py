"""Results that an earlier version stored are read by the class paths of that version."""

from __future__ import annotations

import pytest
from prefect.serializers import JSONSerializer
from prefect.utilities.importtools import from_qualified_name

from gpu.request import Picture

STORED = b"""[{"__class__": "tasks.request.Picture", "data": {"path": "/runs/1/txt2img-0001-7-0925feaf.png",
"sha256": "abc", "seed": 7, "index": 1, "stage": "txt2img", "width": 512, "height": 512, "checkpoint": "oil",
"seconds": 2.5, "note": ""}}]"""


def test_a_picture_stored_by_0_1_0_is_read() -> None:
    assert JSONSerializer().loads(STORED) == [
        Picture(
            path="/runs/1/txt2img-0001-7-0925feaf.png",
            sha256="abc",
            seed=7,
            index=1,
            stage="txt2img",
            width=512,
            height=512,
            checkpoint="oil",
            seconds=2.5,
        )
    ]


@pytest.mark.parametrize(
    "path",
    [
        "flows.job.GenerationJob",
        "tasks.publish.Published",
        "tasks.adetailer.ADetailerPass",
        "tasks.txt2img.Txt2Img",
        "tasks.img2img.Img2Img",
        "tasks.upscale.Upscale",
        "tasks.preflight.JobRefused",
        "flows.batch.BatchIncomplete",
    ],
)
def test_a_class_in_stored_results_keeps_its_path(path: str) -> None:
    assert from_qualified_name(path).__name__ == path.rpartition(".")[2]
