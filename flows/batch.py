"""Many jobs in one run: grouped by checkpoint, one sheet and one table for all, one failure stops nobody else."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.inputs import check_blocks_are_references, freeze_inputs
from flows.job import GenerationJob
from flows.log import BatchIncomplete as BatchIncomplete  # stored results of 0.2.0 name it here
from flows.log import hide_expected_tracebacks
from flows.pipeline import paint
from hours.policy import Policy
from tasks.publish import Published
from tasks.status import RESULTS, this_run


@flow(name="batch", flow_run_name="{name}", persist_result=True, result_serializer="json", result_storage=RESULTS)
def batch(
    name: str = "batch",
    jobs: list[GenerationJob] = [],  # noqa: B006  Prefect shows a default of None as another form
    file: str | None = None,
    webui: WebUI | None = None,
    gallery: Gallery | None = None,
    next_jobs: Annotated[int, Field(ge=1)] | None = None,
    policy: Policy | None = None,
) -> list[Published]:
    """Make the pictures of many jobs, each checkpoint loaded once per stage.

    Args:
        name: Names the run.
        jobs: The jobs; or leave this empty and give a file.
        file: A YAML, JSONL or CSV file of jobs on the worker's machine.
        webui: The WebUI to paint with; empty: the block named "default".
        gallery: Where the pictures go; empty: the block named "default".
        next_jobs: Of the file only so many, those after the last run of this name; after the last ones the first again.
        policy: What becomes of a run that can't start in time, on a timetable or by hand; the worker acts on it.

    Raises:
        BatchIncomplete: jobs failed; names each, and why.
    """
    hide_expected_tracebacks()
    check_blocks_are_references()
    jobs = freeze_inputs(jobs, str(this_run().id), file, name, next_jobs)
    if not jobs:
        raise ValueError("The batch is empty: give jobs, or a file of jobs")
    return paint(name, jobs, webui, gallery, tolerant=True)
