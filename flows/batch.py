"""Many jobs in one run: grouped by checkpoint, one sheet and one table for all, one failure stops nobody else."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.context import TaskRunContext

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.inputs import freeze_inputs
from flows.job import GenerationJob
from flows.jobfile import keep_jobs, read_jobs
from flows.log import BatchIncomplete, hide_expected_tracebacks
from flows.pipeline import Pipeline, look_up, sender_to
from tasks.publish import Published, contact_sheet, publish
from tasks.stage import Item
from tasks.status import RESULTS, due_at, this_run


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
    run_id, started = str(this_run().id), due_at()
    if file:
        jobs = [*jobs, *read_jobs(read_file_once(file))]
    if not jobs:
        raise ValueError("The batch is empty: give jobs, or a file of jobs")

    webui = WebUI.chosen(webui)
    jobs = freeze_inputs(jobs, run_id)
    items = look_up(jobs, webui)
    published: list[tuple[Item, list[Published]]] = []

    def publish_item(item: Item) -> None:
        """As soon as an item is through its stages; the GPU is on the next one by then."""
        about = {"flow_run": run_id, "job": item.job.name, "webui": webui.base_url}
        where = publish(item.pictures, into, job=item.job.name, run=run_id, started=started, about=about)
        published.append((item, where))

    with sender_to(webui) as sender:
        pipeline = Pipeline(items, sender, tolerant=True, on_done=publish_item)
        pipeline.start()
        into = Gallery.chosen(gallery)
        pipeline.run()

    paths = [where for _, wheres in published for where in wheres]
    pictures = [picture for item, _ in published for picture in item.pictures]
    rows = [row(number, item) for number, item in enumerate(items, start=1)]
    pipeline.progress.flush()
    contact_sheet(name, pictures, paths)
    create_table_artifact(pipeline.timings, key="timings", description="Seconds per stage")
    create_table_artifact(rows, key="batch", description=f"{len(items)} jobs of {name}")
    report_failures(items)
    return paths


def row(number: int, item: Item) -> dict[str, Any]:
    """An item's line in the batch's table."""
    return {
        "#": number,
        "job": item.job.name,
        "checkpoint": item.job.checkpoint,
        "pictures": 0 if item.error else len(item.pictures),
        "at the WebUI": round(sum(picture.seconds for picture in item.pictures), 1),
        "error": str(item.error or "")[:300],
    }


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
