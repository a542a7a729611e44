"""What a retry of a run must find as it was: the given files, and the seeds that were drawn."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from prefect import task
from prefect.context import TaskRunContext

from flows.job import GenerationJob
from store.inputs import is_outside
from tasks.status import this_run


def check_blocks_are_references() -> None:
    """A run from the queue names saved blocks: one written out could lead pictures and requests anywhere.

    Raises:
        ValueError: one is written out. (By hand a flow is called with Python objects, which is no matter.)
    """
    run = this_run()
    for name in ("webui", "gallery"):
        if run.deployment_id and (given := run.parameters.get(name)) and {*given} != {"$ref"}:
            raise ValueError(
                f'{name}: choose a saved block, in JSON {{"$ref": {{"block_document_slug": "{name}/NAME"}}}}'
            )


def freeze_inputs(jobs: list[GenerationJob], run: str) -> list[GenerationJob]:
    """The jobs with all that a retry of ``run`` must find as it was: given files in the store, and seeds for −1.

    Files are kept when a job is queued by the command line; a path from the Prefect form is kept here.
    """
    if any(is_outside(file) for job in jobs for file in job.files):
        jobs = keep_files(jobs)
    return [job.with_seeds(f"{run} {number}") for number, job in enumerate(jobs)]


def _once_per_run(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return f"{context.task_run.flow_run_id}-files"


@task(
    name="keep files",
    task_run_name="keep files",
    cache_key_fn=_once_per_run,
    persist_result=True,
    result_serializer="json",
)
def keep_files(jobs: list[GenerationJob]) -> list[GenerationJob]:
    """The jobs with references to the store in place of files; a retry finds the same, whatever became of the files."""
    kept = []
    for job in jobs:
        with suppress(ValueError):  # a file that may not be had is preflight's to report, beside all else that is wrong
            job = job.with_files_kept()
        kept.append(job)
    return kept
