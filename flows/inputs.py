"""What a retry of a run must find as it was: the given files, and the seeds that were drawn."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from prefect import task
from prefect.context import TaskRunContext

from flows.job import GenerationJob
from flows.jobfile import read_jobs
from store.inputs import is_outside


def freeze_inputs(jobs: list[GenerationJob], run: str, file: str | None = None) -> list[GenerationJob]:
    """The jobs, and those of ``file``, with all that a retry of ``run`` must find as it was: given files in the store,
    and seeds for −1.

    Files are kept when a job is queued by the command line; a path from the Prefect form is kept here.

    Raises:
        ValueError: the file of jobs, or one of its jobs, is wrong.
    """
    if any(is_outside(one) for one in [file, *(one for job in jobs for one in job.files)] if one):
        jobs = keep_files(jobs, file)
    elif file:
        jobs = [*jobs, *read_jobs(file)]
    return [job.with_seeds(f"{run} {number}") for number, job in enumerate(jobs)]


def _once_per_run(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return f"{context.task_run.flow_run_id}-inputs"


@task(
    name="keep files",
    task_run_name="keep files",
    cache_key_fn=_once_per_run,
    persist_result=True,
    result_serializer="json",
)
def keep_files(jobs: list[GenerationJob], file: str | None) -> list[GenerationJob]:
    """The jobs with references to the store in place of files; a retry finds the same, whatever became of the files."""
    kept = []
    for job in jobs:
        with suppress(ValueError):  # a missing file is preflight's to report, beside all else that is wrong
            job = job.with_files_kept()
        kept.append(job)
    return [*kept, *(read_jobs(file) if file else [])]
