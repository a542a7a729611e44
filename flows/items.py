"""Jobs made ready: checked against what the WebUI has, settled for retries, each with what its stages ask for."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from pydantic import BaseModel

from flows.job import GenerationJob
from gpu.request import Picture, Request, standing_settings
from store.inputs import is_outside, stored
from tasks.adetailer import adetailer_requests
from tasks.form import LARGEST_SEED
from tasks.img2img import img2img_requests
from tasks.paint import RETRYING
from tasks.preflight import Inventory, JobRefused
from tasks.txt2img import Txt2Img, txt2img_requests
from tasks.upscale import upscale_requests
from webui.client import WebUIClient
from webui.models import Checkpoint

STAGES = ("txt2img", "img2img", "adetailer", "upscale")  # in the order in which they run


class Ready(BaseModel):
    """What preflight found for one job: the checkpoints that its names mean, or why it cannot run."""

    checkpoint: Checkpoint | None = None
    img2img_checkpoint: Checkpoint | None = None
    vae: str | None = None
    forge: bool = True
    problem: str = ""


@dataclass
class Item:
    """One job on its way through the stages: its pictures so far, and what went wrong with it."""

    job: GenerationJob
    ready: Ready
    pictures: list[Picture] = field(default_factory=list)
    error: Exception | None = None

    def has(self, stage: str) -> bool:
        return self.error is None and bool(getattr(self.job, stage))

    @property
    def last_stage(self) -> str:
        return [stage for stage in STAGES if getattr(self.job, stage)][-1]

    def checkpoint(self, stage: str) -> Checkpoint | None:
        """The checkpoint that paints ``stage``; an upscaler needs none."""
        if stage == "upscale":
            return None
        return self.ready.checkpoint if stage == "txt2img" else self.ready.img2img_checkpoint

    def sampling(self, stage: str) -> Txt2Img:
        """The sampling settings of ``stage``: ADetailer goes on with those of the stage before it."""
        if stage == "txt2img" and self.job.txt2img is not None:
            return self.job.txt2img
        if self.job.img2img is not None:
            return self.job.img2img.sampling(self.job.txt2img)
        if self.job.txt2img is not None:
            return self.job.txt2img.model_copy(update={"extra": {}, "enable_hr": False})
        return Txt2Img(prompt="")

    def requests(self, stage: str) -> list[Request]:
        """What ``stage`` asks of the WebUI, given the pictures so far."""
        if stage == "upscale" and self.job.upscale is not None:
            return upscale_requests(self.job.upscale, self.pictures)
        checkpoint, sampling = self.checkpoint(stage), self.sampling(stage)
        assert checkpoint is not None
        standing = standing_settings(checkpoint, self.ready.vae, sampling.clip_skip, forge=self.ready.forge)
        if stage == "adetailer":
            return adetailer_requests(self.job.adetailer, sampling, standing, checkpoint, self.pictures)
        if stage == "img2img" and self.job.img2img is not None:
            return img2img_requests(self.job.img2img, sampling, standing, checkpoint, self.pictures)
        return txt2img_requests(sampling, standing, checkpoint, images=self.job.images, batch_size=self.job.batch_size)


@task(
    name="preflight",
    task_run_name="preflight",
    cache_policy=NO_CACHE,
    persist_result=False,
    **RETRYING,
)
def preflight(jobs: list[GenerationJob], client: WebUIClient) -> list[Ready]:
    """Look up every name that the jobs use, before the GPU is taken. A job that cannot run has its ``problem``."""
    inventory = Inventory(client)
    return [_look_up(job, inventory) for job in jobs]


def _look_up(job: GenerationJob, inventory: Inventory) -> Ready:
    inventory.problems = []
    first = inventory.checkpoint(job.checkpoint)
    second = first
    if job.txt2img is not None:
        inventory.sampling(job.txt2img)
        inventory.scripts(job.txt2img.extra, "txt2img")
    if job.img2img is not None:
        if job.img2img.checkpoint is not None:
            second = inventory.checkpoint(job.img2img.checkpoint)
        inventory.sampling(job.img2img.sampling(job.txt2img), hires=False)
        inventory.scripts(job.img2img.extra, "img2img")
    if job.adetailer:
        inventory.adetailer(job.adetailer)
    if job.upscale is not None:
        inventory.upscaler(job.upscale.upscaler)
    vae = inventory.vae(job.vae)
    _check_files(job, inventory)
    return Ready(
        checkpoint=first,
        img2img_checkpoint=second,
        vae=vae,
        forge=inventory.forge,
        problem="; ".join(inventory.problems),
    )


def _check_files(job: GenerationJob, inventory: Inventory) -> None:
    """The given files are in this machine's store, and of a size that the first stage takes."""
    references = list(job.init_images)
    if job.img2img is not None and job.img2img.mask is not None:
        references.append(job.img2img.mask)
    for reference in references:
        try:
            with Image.open(stored(reference)) as image:
                width, height = image.size
        except (ValueError, OSError) as error:
            inventory.problems.append(str(error))
            continue
        if job.img2img is None and job.adetailer and (width % 8 or height % 8):
            inventory.problems.append(
                f"{reference} is {width}×{height}: ADetailer needs multiples of 8; add an img2img stage to resize it"
            )


def freeze_inputs(jobs: list[GenerationJob], run: str) -> list[GenerationJob]:
    """The jobs with all that a retry of ``run`` must find as it was: given files in the store, and seeds for −1.

    Files are kept when a job is queued by the command line; a path from the Prefect form is kept here.
    """
    if any(is_outside(file) for job in jobs for file in job.files):
        jobs = keep_files(jobs)
    return [_with_seeds(job, f"{run} {number}") for number, job in enumerate(jobs)]


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
        with suppress(ValueError):  # a missing file is preflight's to report, beside all else that is wrong
            job = job.with_files_kept()
        kept.append(job)
    return kept


def _with_seeds(job: GenerationJob, draw: str) -> GenerationJob:
    """The job with a seed for each −1. The same ``draw`` gives the same seeds, so a retry need not remember them."""
    seeds: dict[str, Any] = {}
    for stage in ("txt2img", "img2img"):
        form = getattr(job, stage)
        if form is not None and (form.seed == -1 or (form.seed is None and job.txt2img is None)):
            seed = random.Random(f"{draw} {stage}").randint(0, LARGEST_SEED - job.total)
            seeds[stage] = form.model_copy(update={"seed": seed})
    return job.model_copy(update=seeds)


def items_of(jobs: list[GenerationJob], ready: list[Ready]) -> list[Item]:
    """The jobs, each with the pictures that it starts from, or with why it cannot run."""
    items = []
    for job, found in zip(jobs, ready, strict=True):
        item = Item(job, found)
        if found.problem:
            item.error = JobRefused(found.problem)
        elif job.init_images:
            item.pictures = _given(job)
        items.append(item)
    return items


def _given(job: GenerationJob) -> list[Picture]:
    """The job's own files as pictures to start from, each as often as ``images`` says."""
    pictures = []
    for number in range(job.total):
        path = stored(job.init_images[number // job.images])
        seed = job.img2img.seed if job.img2img is not None else None
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
