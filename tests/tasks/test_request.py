"""Results that an earlier version stored are read by the class paths of that version."""

from __future__ import annotations

import pytest
from prefect.utilities.importtools import from_qualified_name


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
