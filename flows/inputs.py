"""What a retry of a run must find as it was: the given files, the seeds and the prompts that were drawn."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import Any

from prefect import get_run_logger, task
from prefect.context import TaskRunContext
from prefect.variables import Variable

from flows.job import GenerationJob
from flows.jobfile import read_jobs
from store.inputs import is_outside
from store.settings import settings
from tasks.preflight import JobRefused
from tasks.status import this_run
from variations.wildcards import NotDrawn, Wildcards, draw, may_draw


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


def freeze_inputs(
    jobs: list[GenerationJob], run: str, file: str | None = None, name: str = "", most: int | None = None
) -> list[GenerationJob]:
    """The jobs, and those of ``file``, with all that a retry of ``run`` must find as it was: given files in the store,
    a seed for each −1, a job for each cell of a sweep, and one for each picture whose prompts are drawn.

    Files are kept when a job is queued by the command line; a path from the Prefect form is kept here.

    Args:
        name: the run's name, under which the place in the file is remembered.
        most: take only the next so many jobs of the file.

    Raises:
        ValueError: the file of jobs, or one of its jobs, is wrong.
        JobRefused: a template can't be drawn, where the job says that it must be.
    """
    if file and not most and not is_outside(file):
        jobs, file = [*jobs, *read_jobs(file)], None
    if file or any(job.sweep or may_draw(job.parameters()) or any(map(is_outside, job.files)) for job in jobs):
        return freeze(jobs, run, file, name, most)
    return with_seeds(jobs, run)


def with_seeds(jobs: list[GenerationJob], run: str) -> list[GenerationJob]:
    return [job.with_seeds(f"{run} {number}") for number, job in enumerate(jobs)]


def next_jobs(jobs: list[GenerationJob], run: str, name: str, most: int) -> list[GenerationJob]:
    """The ``most`` jobs after those of the last run of this name, which a Prefect variable remembers."""
    key = f"darkroom_{re.sub('[^a-z0-9]+', '_', name.lower())[:80]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    known: Any = Variable.get(key) or {}
    start = known["start"] if known.get("run") == run else known.get("next", 0)
    start = start if start < len(jobs) else 0
    Variable.set(key, {"run": run, "start": start, "next": start + most}, overwrite=True)
    get_run_logger().info("jobs %d to %d of %d", start + 1, min(start + most, len(jobs)), len(jobs))
    return jobs[start : start + most]


def _once_per_run(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return f"{context.task_run.flow_run_id}-inputs"


@task(
    name="freeze inputs",
    task_run_name="freeze inputs",
    cache_key_fn=_once_per_run,
    persist_result=True,
    result_serializer="json",
)
def freeze(jobs: list[GenerationJob], run: str, file: str | None, name: str, most: int | None) -> list[GenerationJob]:
    """As :func:`freeze_inputs`; its result is kept for a retry, whatever became of the files."""
    kept = []
    for job in jobs:
        with suppress(ValueError):  # a file that may not be had is preflight's to report, beside all else that is wrong
            job = job.with_files_kept()
        kept.append(job)
    of_file = read_jobs(file) if file else []
    kept += next_jobs(of_file, run, name, most) if most else of_file
    varied, wrong, wildcards = [], [], Wildcards(settings().wildcards)
    of_sweeps = [cell for job in with_seeds(kept, run) for cell in job.cells()]
    for job in with_seeds(of_sweeps, f"{run} cell"):  # for a seed of −1 among a sweep's values
        try:
            drawn, told = draw(job.parameters(), wildcards)
        except NotDrawn as error:
            wrong.append(f"{job.name}: {error}")
            continue
        varied += [type(job).model_validate(one) for one in drawn]
        for one in told:
            get_run_logger().warning("%s: %s", job.name, one)
    if wrong:
        raise JobRefused("; ".join(wrong[:20]))
    return varied
