"""Many jobs in one run: grouped by checkpoint, one sheet and one table for all, one failure stops nobody else."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger, task
from prefect.context import TaskRunContext

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.inputs import check_blocks_are_references, freeze_inputs
from flows.job import GenerationJob
from flows.jobfile import keep_jobs, read_jobs
from flows.log import BatchIncomplete, hide_expected_tracebacks
from flows.pipeline import look_up, make
from tasks.publish import Published
from tasks.stage import Item
from tasks.status import RESULTS, this_run


@flow(name="batch", flow_run_name="{name}", persist_result=True, result_serializer="json", result_storage=RESULTS)
def batch(
    name: str = "batch",
    jobs: list[GenerationJob] = [],  # noqa: B006  Prefect shows a default of None as another form
    file: str | None = None,
    webui: WebUI | None = None,
    gallery: Gallery | None = None,
) -> list[Published]:
    """Make the pictures of many jobs, each checkpoint loaded once per stage.

    Args:
        name: Names the run.
        jobs: The jobs; or leave this empty and give a file.
        file: A YAML, JSONL or CSV file of jobs on the worker's machine.
        webui: The WebUI to paint with; empty: the block named "default".
        gallery: Where the pictures go; empty: the block named "default".
    """
    hide_expected_tracebacks()
    check_blocks_are_references()
    if file:
        jobs = [*jobs, *read_jobs(read_file_once(file))]
    if not jobs:
        raise ValueError("The batch is empty: give jobs, or a file of jobs")

    webui, gallery = WebUI.chosen(webui), Gallery.chosen(gallery)
    items = look_up(freeze_inputs(jobs, str(this_run().id)), webui, gallery)
    make(name, items, webui, gallery, tolerant=True)
    report_failures(items)
    return [published for item in items for _, published in sorted(item.published.items())]


def report_failures(items: list[Item]) -> None:
    """
    Raises:
        BatchIncomplete: an item failed; names each, and why.
    """
    failed = [item for item in items if item.error is not None]
    if failed:
        get_run_logger().error("%d of %d jobs failed; the others are in the gallery", len(failed), len(items))
        reasons = "; ".join(f"{item.job.name}: {item.error}" for item in failed[:20])
        raise BatchIncomplete(
            f"{len(failed)} of {len(items)} jobs failed, the others are in the gallery. "
            f"Retry repeats only what is missing. {reasons}"
        )


def _once_per_run(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return f"{context.task_run.flow_run_id}-{parameters['file']}"


@task(
    name="read the file",
    task_run_name="read the file",
    cache_key_fn=_once_per_run,
    persist_result=True,
    result_serializer="json",
)
def read_file_once(file: str) -> str:
    """A reference to the file's jobs in the store: a retry works on the same ones, whatever became of the file."""
    return keep_jobs(file)
