"""The job of a picture in the gallery, to be painted once more with another seed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient

from backlog import queue
from backlog.capture import capture
from backlog.task import InvalidJob, NotFound, Task, jobs_of
from catalog.record import beside, history
from flows.job import GenerationJob
from tasks.form import LARGEST_SEED


def again(prefect: SyncPrefectClient, file: Path, seed: int | None = None) -> tuple[Task, list[str]]:
    """Queue the job of one picture with another seed (None: one is drawn).

    Returns:
        the task, and what could not be carried over where the job had to be read from the picture.

    Raises:
        InvalidJob: the picture does not say how it was made, or no seed decides how it looks.
    """
    about = beside(file)
    job, webui = _queued(prefect, about)
    lost: list[str] = []
    if job is None:
        captured = capture(file, str(about.get("job") or file.stem))
        job, lost = captured.job, captured.lost
    step = job.steps()[0]
    if getattr(step.form, "seed", "") == "":  # a pass of ADetailer or an upscaling of a given file
        raise InvalidJob(f"{job.name} begins with {step.stage.name}, which no seed changes")
    drawn = random.randint(0, LARGEST_SEED) if seed is None else seed
    changed = {step.stage.name: step.form.with_seed(drawn), "images": 1, "batch_size": 1, "sweep": []}
    changed |= {"init_images": _its_input(job, about)}
    return queue.add(prefect, job.model_copy(update=changed), webui=webui), lost


def _queued(prefect: SyncPrefectClient, about: dict[str, Any]) -> tuple[GenerationJob | None, str | None]:
    """The job as it was queued, with its prompts not drawn yet, and the slug of its connection block; None where the
    run is gone from Prefect, or has several jobs that may be the one."""
    try:
        parameters = queue.read(prefect, UUID(str(about.get("flow_run")))).parameters
    except (NotFound, ValueError):
        return None, None
    webui = (parameters.get("webui") or {}).get("$ref", {}).get("block_document_slug")
    found = [
        cell
        for job in jobs_of(parameters)
        for cell in job.cells()
        if cell.name == about.get("job") and cell.cell == about.get("cell", {})
    ]
    return (found[0] if len(found) == 1 else None), webui


def _its_input(job: GenerationJob, about: dict[str, Any]) -> list[str]:
    """The one of the job's init images that the picture was made from: a stored file's name holds its hash."""
    first = list(history(about))[-1].get("init") or "none"
    return [file for file in job.init_images if first in file] or job.init_images[:1]
