"""Everything that can be known of a job before the GPU is taken, looked up at the WebUI and on disk."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from prefect import task
from prefect.cache_policies import NO_CACHE

from gpu.request import Picture
from store.inputs import stored
from tasks.inventory import Inventory
from tasks.paint import RETRYING
from tasks.stage import Item, Job
from webui.client import WebUIClient


class JobRefused(ValueError):
    """The WebUI does not have what the job names. The message says each name, and what comes near it."""


@task(name="preflight", task_run_name="preflight", cache_policy=NO_CACHE, persist_result=False, **RETRYING)
def preflight(jobs: Sequence[Job], client: WebUIClient) -> list[Item]:
    """The jobs as items, with the WebUI's checkpoints and the pictures that they start from.

    An item whose job can't run has its ``error``, a JobRefused that names all that is wrong.
    """
    inventory = Inventory(client)
    return [_look_up(job, inventory) for job in jobs]


def _look_up(job: Job, inventory: Inventory) -> Item:
    inventory.problems = problems = []
    item = Item(job, job.steps(), forge=inventory.forge)
    painted_with = [step.settings.checkpoint for step in item.steps if step.stage.needs_checkpoint]
    for name in dict.fromkeys([job.checkpoint, *painted_with]):
        if (checkpoint := inventory.checkpoint(name)) is not None:
            item.checkpoints[name] = checkpoint
    inventory.vae(job.vae)
    for step in item.steps:
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
    return item


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
