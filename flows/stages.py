"""The stages of a job, in the order in which they run: what each asks of the WebUI, and how it is run.

All images of a stage come before the next stage, so that a stage with its own checkpoint costs one switch.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff
from pydantic import BaseModel

from blocks.connection import WebUI
from blocks.settings import settings
from flows.job import GenerationJob
from tasks.adetailer import adetailer, adetailer_requests
from tasks.checkpoint import is_loaded, switch_checkpoint, switch_request
from tasks.form import LARGEST_SEED
from tasks.gpu import Lease, Ticket
from tasks.img2img import img2img, img2img_requests
from tasks.lane import Lane
from tasks.paint import RETRIES, can_help, is_made
from tasks.preflight import Inventory, JobRefused
from tasks.progress import JobProgress, watch
from tasks.request import Picture, Request, standing_settings
from tasks.status import Status, this_run
from tasks.store import stored
from tasks.txt2img import Txt2Img, txt2img, txt2img_requests
from tasks.upscale import upscale, upscale_requests
from webui.client import WebUIClient
from webui.errors import Unreachable
from webui.models import Checkpoint

PAINTERS: dict[str, Task[Any, list[Picture]]] = {
    "txt2img": txt2img,
    "img2img": img2img,
    "adetailer": adetailer,
    "upscale": upscale,
}
POLLER_ENDS_WITHIN = 1.0  # seconds


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
        return [stage for stage in PAINTERS if getattr(self.job, stage)][-1]

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
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(settings().retry_backoff),
    retry_jitter_factor=0.5,
    retry_condition_fn=can_help,
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


def _once_per_run(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return f"{context.task_run.flow_run_id}-settled"


@task(name="settle", task_run_name="settle", cache_key_fn=_once_per_run, persist_result=True, result_serializer="json")
def settle(jobs: list[GenerationJob]) -> list[GenerationJob]:
    """The jobs with all that a retry must find as it was: seeds drawn for −1, and the given files in the store.

    Files are kept when a job is queued by the command line; a path from the Prefect form is kept here.
    """
    return [_settled(job) for job in jobs]


def _settled(job: GenerationJob) -> GenerationJob:
    with suppress(ValueError):  # a missing file is preflight's to report, beside all else that is wrong
        job = job.with_files_kept()
    seeds: dict[str, Any] = {}
    for stage in ("txt2img", "img2img"):
        form = getattr(job, stage)
        if form is not None and (form.seed == -1 or (form.seed is None and job.txt2img is None)):
            seeds[stage] = form.model_copy(update={"seed": random.randint(0, LARGEST_SEED - job.total)})
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


def shares(items: Sequence[Item]) -> dict[str, float]:
    """How much of the work each stage is, in sampling steps × pictures; an upscale counts as five steps."""
    weights: dict[str, float] = {}
    for stage in PAINTERS:
        for item in items:
            if item.has(stage):
                steps = 5 if stage == "upscale" else item.sampling(stage).steps
                if stage == "img2img" and item.job.img2img is not None:
                    steps = max(1, round(steps * item.job.img2img.denoising_strength))
                weights[stage] = weights.get(stage, 0) + steps * item.job.total
    return weights


@contextmanager
def lane_to(webui: WebUI) -> Iterator[Lane]:
    """The lane to a WebUI's GPU; says in log and state what is waited for."""
    run, status = this_run(), Status()
    run_id = str(run.id)

    def say_who_paints(holder: Ticket | None) -> None:
        status.waiting(f"the GPU is with the run {holder.name!r} ({holder.run})" if holder else None)

    lane = Lane(
        webui.get_client(),
        run=run_id,
        lease=Lease(webui.base_url, run=run_id, name=run.name, on_wait=say_who_paints),
        made=lambda request: is_made(request, run_id),
        on_wait=status.waiting,
    )
    with closing(status), lane:
        yield lane


@dataclass
class Group:
    """What a stage asks of one checkpoint (None: an upscaler): each item with its requests."""

    checkpoint: Checkpoint | None
    plans: list[tuple[Item, list[Request]]] = field(default_factory=list)

    @property
    def requests(self) -> list[Request]:
        return [request for _, plan in self.plans for request in plan]

    @property
    def standing(self) -> dict[str, Any]:
        """What makes the switch stand alone as the group's first request does."""
        payload = self.requests[0].payload
        return {key: payload[key] for key in ("override_settings", "override_settings_restore_afterwards")}


@dataclass
class Stages:
    """Runs the stages of some items on one lane.

    ``tolerant``: an item's failure does not stop the others. ``on_done``: called with each item that is through its
    last stage, while the GPU works on the next one.
    """

    items: list[Item]
    lane: Lane
    tolerant: bool = False
    on_done: Callable[[Item], None] = lambda item: None
    timings: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.progress = JobProgress(shares(self.items))
        self._on_gpu = False
        self._loaded = ""  # the checkpoint that the WebUI has, by file name

    def run(self) -> None:
        """Stage by stage, and within a stage checkpoint by checkpoint, the one that is loaded first."""
        stages = [stage for stage in PAINTERS if any(item.has(stage) for item in self.items)]
        for stage in stages:
            if working := [item for item in self.items if item.has(stage)]:
                self._run_stage(stage, working, final=stage == stages[-1])
        self.progress.flush()

    def _run_stage(self, stage: str, items: list[Item], *, final: bool) -> None:
        started = time.monotonic()
        groups = _by_checkpoint(stage, [(item, self._named(item, item.requests(stage))) for item in items])
        if not self._on_gpu:
            self._take_gpu(groups)
        groups.sort(key=lambda group: group.checkpoint is None or group.checkpoint.file != self._loaded)
        self.lane.plan([request for group in groups for request in self._asked(group)], final=final)
        self.lane.start()  # the GPU works while Prefect is told
        made: list[Picture] = []
        with self._watched(stage, sum(len(request.seeds) for group in groups for request in group.requests)):
            for group in groups:
                made += self._run_group(stage, group)
        self.timings.append(
            {
                "stage": stage,
                "pictures": len(made),
                "seconds": round(time.monotonic() - started, 1),
                "at the WebUI": round(sum(picture.seconds for picture in made), 1),
                "checkpoint": ", ".join(sorted({picture.checkpoint for picture in made})),
            }
        )

    def _take_gpu(self, groups: list[Group]) -> None:
        """Wait for the GPU with everything ready, and see which checkpoint it was left with."""
        for group in groups:
            self.lane.prepare(group.requests[0])
        self.lane.take_gpu()
        self._on_gpu = True
        checkpoints = [group.checkpoint for group in groups if group.checkpoint is not None]
        self._loaded = next((one.file for one in checkpoints if is_loaded(one, self.lane.client)), "")

    def _asked(self, group: Group) -> list[Request]:
        """All that a group asks of the WebUI: the switch of its checkpoint, if it needs one, and its requests."""
        if group.checkpoint is None or group.checkpoint.file == self._loaded or self._is_made(group):
            return group.requests
        return [switch_request(group.checkpoint, group.standing), *group.requests]

    def _is_made(self, group: Group) -> bool:
        """Whether a retried run made all of it before, so that its checkpoint need not be loaded."""
        return all(self.lane.is_made(request) for request in group.requests)

    def _named(self, item: Item, requests: list[Request]) -> list[Request]:
        """The requests with their job's name, where there are several jobs to tell apart."""
        if len(self.items) == 1:
            return requests
        return [request.model_copy(update={"job": item.job.name}) for request in requests]

    def _run_group(self, stage: str, group: Group) -> list[Picture]:
        if group.checkpoint is not None and not self._is_made(group):
            switch_checkpoint(group.checkpoint, group.standing, self.lane)
            self._loaded = group.checkpoint.file
        made = []
        for item, requests in group.plans:
            item.pictures = self._paint(stage, item, requests)
            made += item.pictures
            if item.error is None and stage == item.last_stage:
                self.on_done(item)
        return made

    def _paint(self, stage: str, item: Item, requests: list[Request]) -> list[Picture]:
        """An item's pictures. A request that was done before (a retried run) costs nothing."""
        pictures: list[Picture] = []
        for request in requests:
            try:
                if item.error is None:
                    pictures += PAINTERS[stage](request, self.lane)
            except Unreachable:
                raise  # without a WebUI the others would fail one by one
            except Exception as error:
                if not self.tolerant:
                    raise
                get_run_logger().error("%s of %s failed: %s", request.title, item.job.name, error)
                item.error = error
            self.progress.done(request)
        return pictures

    @contextmanager
    def _watched(self, stage: str, pictures: int) -> Iterator[None]:
        """Poll the WebUI's progress while the stage runs: one polling task for all its pictures."""
        stop = threading.Event()
        self.progress.begin(stage, pictures)
        poller = watch.submit(stage, self.lane, self.progress, stop)
        try:
            yield
            self.progress.end()
        finally:
            stop.set()
            poller.wait(POLLER_ENDS_WITHIN)


def _by_checkpoint(stage: str, plans: list[tuple[Item, list[Request]]]) -> list[Group]:
    """The plans in groups of one checkpoint, in the order in which the checkpoints appear."""
    groups: dict[str, Group] = {}
    for item, plan in plans:
        checkpoint = item.checkpoint(stage)
        group = groups.setdefault(checkpoint.file if checkpoint else "", Group(checkpoint))
        group.plans.append((item, plan))
    return list(groups.values())
