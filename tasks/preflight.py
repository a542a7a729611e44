"""Everything that can be known of a job before the GPU is taken, looked up at the WebUI and on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from PIL import Image
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.gallery import Gallery
from store.files import write_whole
from store.inputs import stored
from store.picture import Picture
from store.settings import settings
from tasks.inventory import Inventory
from tasks.paint import RETRYING
from tasks.publish import published_before
from tasks.stage import Item, Job, Step
from tasks.status import this_run
from webui.client import WebUIClient
from webui.models import Checkpoint


class JobRefused(ValueError):
    """The WebUI does not have what the job names. The message says each name, and what comes near it."""


class LookedUp(BaseModel):
    """What a run has looked up at its WebUI, kept beside its pictures: a retry knows them by it, without the WebUI."""

    forge: bool = True
    checkpoints: dict[str, Checkpoint] = {}


@task(name="preflight", task_run_name="preflight", cache_policy=NO_CACHE, persist_result=False, **RETRYING)
def preflight(jobs: Sequence[Job], client: WebUIClient, gallery: Gallery) -> list[Item]:
    """The jobs as items, with the WebUI's checkpoints and the pictures that they start from.

    Only what is still to be painted is looked up; where that is nothing, the WebUI need not be there. An item whose
    job can't run has its ``error``, a JobRefused that names all that is wrong.

    Raises:
        OSError: the pictures could not be written; says which folder it is, and what to do.
    """
    run = str(this_run().id)
    published, note, before = published_before(run), settings().runs / run / "looked-up.json", LookedUp()
    with suppress(OSError, ValueError):  # the first attempt, or somebody tidied the folder
        before = LookedUp.model_validate_json(note.read_bytes())
    inventory = Inventory(client)
    items = [
        Item(
            job,
            job.steps(),
            {**before.checkpoints},
            before.forge,
            key=(key := _key(number, job)),
            published=published.get(key, {}),
        )
        for number, job in enumerate(jobs)
    ]
    left = [(item, steps) for item in items if (steps := _left(item))]
    for item, steps in left:
        _look_up(item, steps, inventory)
    if left:
        found = {name: one for item in items for name, one in item.checkpoints.items()}
        try:
            write_whole(note, LookedUp(forge=inventory.forge, checkpoints=found).model_dump_json().encode())
        except OSError as error:
            raise OSError(
                f"{note.parent} cannot be written, where the pictures would go: {error}. Make room or mend the "
                "folder, then Retry; nothing was painted"
            ) from error
    if any(len(item.published) < item.job.total for item in items):
        gallery.check_writable()
    return items


def _key(number: int, job: Job) -> str:
    return f"{number}-{hashlib.sha256(repr(job).encode()).hexdigest()[:16]}"


def _left(item: Item) -> list[Step[Any]]:
    """The steps of a job that still have something to paint, as far as can be told: from the first one on."""
    if len(item.published) == item.job.total:
        return []
    names = {step.checkpoint for step in item.steps if step.checkpoint}
    if not names <= item.checkpoints.keys():
        return item.steps
    with suppress(OSError, ValueError):  # what is wrong with a given file is told when it is looked up
        item.pictures = _given(item)
        walked = replace(item)
        for position, step in enumerate(item.steps):
            requests = walked.requests(step)
            if not all(walked.kept(request) for request in requests):
                return item.steps[position:]
            walked.advance([picture for request in requests for picture in walked.kept(request)])
        return []
    return item.steps


def _look_up(item: Item, steps: list[Step[Any]], inventory: Inventory) -> None:
    job = item.job
    inventory.problems = problems = []
    painted_with = [step.checkpoint for step in steps if step.checkpoint]
    for name in dict.fromkeys([job.checkpoint, *painted_with] if steps == item.steps else painted_with):
        if (checkpoint := inventory.checkpoint(name)) is not None:
            item.checkpoints[name] = checkpoint
    item.forge = inventory.forge
    inventory.vae(job.vae)
    for step in steps:
        step.stage.look_up(step, inventory)
    for reference in dict.fromkeys(job.files):
        try:
            with Image.open(stored(reference)) as image:
                size = image.size
            if reference in job.init_images:
                job.steps(size)  # a stage says here that it can't take or make pictures of this size
        except (ValueError, OSError) as error:
            problems.append(str(error) if reference in str(error) else f"{reference}: {error}")
    if problems:
        item.error = JobRefused("; ".join(problems))
    else:
        item.pictures = _given(item)


def _given(item: Item) -> list[Picture]:
    """The job's own files as pictures to start from, each as often as ``images`` says."""
    job, pictures = item.job, []
    for number in range(job.total if job.init_images else 0):
        path = stored(job.init_images[number // job.images])
        seed = getattr(item.steps[0].form, "seed", None)
        if seed is None:
            seed = int(path.stem[:7], 16)  # any will do, as long as a retry finds the same
        with Image.open(path) as image:
            width, height = image.size
        pictures.append(
            Picture(
                path=str(path),
                sha256=path.stem,
                seed=seed + number,
                index=number + 1,
                stage="init",
                width=width,
                height=height,
            )
        )
    return pictures
