"""The main job: from a form, a file or a timetable to pictures in the gallery."""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.inputs import check_blocks_are_references, freeze_inputs
from flows.job import GenerationJob, read_job
from flows.log import EXPECTED, hide_expected_tracebacks
from flows.pipeline import paint
from hours.policy import Policy
from tasks.publish import Published
from tasks.status import RESULTS, this_run


@flow(
    name="generate", flow_run_name="{job.name}", persist_result=True, result_serializer="json", result_storage=RESULTS
)
def generate(
    job: GenerationJob, webui: WebUI | None = None, gallery: Gallery | None = None, policy: Policy | None = None
) -> list[Published]:
    """Make the pictures of one job, stage by stage, and put them into the gallery. Where its prompts are drawn, each
    picture is a job of its own: one that fails stops no other.

    Args:
        job: What to make.
        webui: The WebUI to paint with; empty: the block named "default".
        gallery: Where the pictures go; empty: the block named "default".
        policy: What becomes of a run that can't start in time, on a timetable or by hand; the worker acts on it.
    """
    hide_expected_tracebacks()
    check_blocks_are_references()
    jobs = freeze_inputs([job], str(this_run().id))
    return paint(job.name, jobs, webui, gallery, tolerant=len(jobs) > 1)


def main() -> int:
    """``python -m flows.generate job.yaml``: the same flow, in this process, with no server running."""
    if len(sys.argv) != 2:
        print("usage: python -m flows.generate job.yaml", file=sys.stderr)
        return 2
    try:
        job = read_job(Path(sys.argv[1]))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        published = generate(job)
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return 1
    for picture in published:
        print(picture.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
