"""Everything that can be known of a job before the GPU is taken, looked up at the WebUI and on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from PIL import Image
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.gallery import Gallery
from store.inputs import stored
from store.picture import Picture
from store.settings import settings
from tasks.inventory import Inventory
from tasks.paint import RETRYING
from tasks.publish import NotPublished, Publisher, published_before
from tasks.stage import Item, Job, Step
from tasks.status import due_at, this_run
from webui.client import WebUIClient
from webui.models import Checkpoint


class JobRefused(ValueError):
    """The WebUI does not have what the job names. The message says each name, and what comes near it."""


class LookedUp(BaseModel):
    """What a run has looked up at its WebUI, kept beside its pictures: a retry knows them by it, without the WebUI."""

    forge: bool = True
    checkpoints: dict[str, Checkpoint] = {}


@task(name="preflight", task_run_name="preflight", cache_policy=NO_CACHE, persist_result=False, **RETRYING)
def preflight(jobs: Sequence[Job], client: WebUIClient, read_gallery: Callable[[], Gallery]) -> list[Item]:
    """The jobs as items, with the WebUI's checkpoints and the pictures that they start from.

    Only what is still to be painted is looked up; where that is nothing, the WebUI need not be there. An item whose
    job can't run has its ``error``, a JobRefused that names all that is wrong.

    Args:
        read_gallery: gives the gallery, which may still be on its way from Prefect while the WebUI is asked.

    Raises:
        OSError: the pictures could not be written; says which folder it is, and what to do.
    """
    run, inventory, items = str(this_run().id), Inventory(client), []
    published, note, before = published_before(run), settings().runs / run / "looked-up.json", LookedUp()
    with suppress(OSError, ValueError):  # the first attempt, or somebody tidied the folder
        before = LookedUp.model_validate_json(note.read_bytes())
    for number, job in enumerate(jobs):
        key = f"{number}-{hashlib.sha256(repr(job).encode()).hexdigest()[:16]}"
        done = published.get(key, {})
        items.append(Item(job, job.steps(), {**before.checkpoints}, before.forge, key=key, published=done))
    unpublished = [item for item in items if len(item.published) < item.job.total]
    looked_up, finished = [], []  # finished: pictures of jobs that can't run any more
    for item in unpublished:
        problems = _open_files(item)
        left, kept = _painted_before(item)
        if steps := item.steps if problems else left:
            _look_up(item, steps, problems, inventory)
            looked_up.append(item)
        finished += [(item, picture) for picture in kept if item.error]
    if looked_up:
        found = {name: one for item in looked_up for name, one in item.checkpoints.items()}
        known = LookedUp(forge=all(item.forge for item in looked_up), checkpoints=found)
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(known.model_dump_json())  # not on disk at once: without it, a retry looks up again
        except OSError as error:
            raise OSError(
                f"{note.parent} cannot be written, where the pictures would go: {error}. Make room or mend the "
                "folder, then Retry; nothing was painted"
            ) from error
    gallery = read_gallery()
    if unpublished:
        gallery.check_writable()
    publisher = Publisher(gallery, run=run, started=due_at(), webui=client.base_url)
    for item, picture in finished:
        with suppress(NotPublished):  # the error of its job says more
            item.published[picture.index] = publisher.put(picture, job=item.job.name, key=item.key).result()
    publisher.close()
    return items


def _look_up(item: Item, steps: list[Step[Any]], problems: list[str], inventory: Inventory) -> None:
    """Look up what the steps name; all that is wrong with the item becomes its error."""
    inventory.problems, inventory.checkpoints = problems, item.checkpoints
    if painted_with := dict.fromkeys(step.checkpoint for step in steps if step.checkpoint):
        inventory.have("checkpoints", "is_forge", "samplers")  # what every such job needs, side by side
        for name in painted_with:
            inventory.checkpoint(name)
        item.forge = inventory.forge
        inventory.vae(item.job.vae)
    for step in steps:
        step.stage.look_up(step, inventory)
    if problems:
        item.error = JobRefused("; ".join(problems))


def _open_files(item: Item) -> list[str]:
    """What is wrong with the job's own files; they become the pictures to start from, each ``images`` times."""
    job, problems, sizes = item.job, [], {}
    for reference in dict.fromkeys(job.files):
        try:
            with Image.open(stored(reference)) as image:
                sizes[reference] = image.size
            if reference in job.init_images:
                job.steps(sizes[reference])  # a stage says here that it can't take or make pictures of this size
        except (ValueError, OSError, Image.DecompressionBombError) as error:
            problems.append(str(error) if reference in str(error) else f"{reference}: {error}")
    seed = getattr(item.steps[0].form, "seed", None)
    starts = [] if problems else [reference for reference in job.init_images for _ in range(job.images)]
    for number, reference in enumerate(starts):
        path, (width, height) = stored(reference), sizes[reference]
        # Where the first stage has no seed any will do, as long as a retry finds the same.
        own = number + (int(path.stem[:7], 16) if seed is None else seed)
        about = {"sha256": path.stem, "seed": own, "index": number + 1, "stage": "init"}
        item.pictures.append(Picture.model_validate(about | {"path": str(path), "width": width, "height": height}))
    return problems


def _painted_before(item: Item) -> tuple[list[Step[Any]], list[Picture]]:
    """What earlier attempts left: the steps from the first that has something to paint, as far as can be told, and
    the pictures that are through all of them and not published."""
    walked, left, through = replace(item), item.steps, list[Picture]()
    with suppress(KeyError, OSError, ValueError):  # a checkpoint not looked up yet; what is told with the files
        for number, step in enumerate(item.steps):
            requests = walked.requests(step)
            through = [picture for request in requests for picture in item.kept(request)]
            walked.advance(through)
            if left == item.steps[number:] and all(item.kept(request) for request in requests):
                left = item.steps[number + 1 :]
        return left, through
    return left, []
