"""The stages of jobs, run one after the other on one sender to the GPU.

All images of a stage come before the next stage, so that a stage with its own checkpoint costs one switch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from prefect import Task, get_run_logger

from blocks.connection import WebUI
from flows.items import STAGES, Item
from gpu.lease import Lease, Ticket
from gpu.request import Picture, Request
from gpu.sender import Sender
from tasks.adetailer import adetailer
from tasks.checkpoint import is_loaded, switch_checkpoint, switch_request
from tasks.img2img import img2img
from tasks.paint import is_made
from tasks.progress import JobProgress, watch
from tasks.status import Status, this_run
from tasks.txt2img import txt2img
from tasks.upscale import upscale
from webui.errors import Unreachable
from webui.models import Checkpoint

PAINTERS: dict[str, Task[Any, list[Picture]]] = {
    "txt2img": txt2img,
    "img2img": img2img,
    "adetailer": adetailer,
    "upscale": upscale,
}
POLLER_ENDS_WITHIN = 1.0  # seconds


def shares(items: Sequence[Item]) -> dict[str, float]:
    """How much of the work each stage is, in sampling steps × pictures; an upscale counts as five steps."""
    weights: dict[str, float] = {}
    for stage in STAGES:
        for item in items:
            if item.has(stage):
                steps = 5 if stage == "upscale" else item.sampling(stage).steps
                if stage == "img2img" and item.job.img2img is not None:
                    steps = max(1, round(steps * item.job.img2img.denoising_strength))
                weights[stage] = weights.get(stage, 0) + steps * item.job.total
    return weights


@contextmanager
def sender_to(webui: WebUI) -> Iterator[Sender]:
    """The sender to a WebUI's GPU; says in log and state what is waited for."""
    run, status = this_run(), Status()
    run_id = str(run.id)

    def say_who_paints(holder: Ticket) -> None:
        status.waiting(f"the GPU is with the run {holder.name!r} ({holder.run})")

    sender = Sender(
        webui.get_client(),
        run=run_id,
        lease=Lease(webui.base_url, run=run_id, name=run.name, on_wait=say_who_paints),
        made=lambda request: is_made(request, run_id),
        on_wait=status.waiting,
    )
    with closing(status), sender:
        yield sender


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
    """Runs the stages of some items on one sender.

    ``tolerant``: an item's failure does not stop the others. ``on_done``: called with each item that is through its
    last stage, while the GPU works on the next one.
    """

    items: list[Item]
    sender: Sender
    tolerant: bool = False
    on_done: Callable[[Item], None] = lambda item: None
    timings: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.progress = JobProgress(shares(self.items))
        self._stages = [stage for stage in STAGES if self._working(stage)]
        self._begun: dict[str, list[Group]] = {}
        self._on_gpu = False
        self._loaded = ""  # the checkpoint that the WebUI has, by file name

    def start(self) -> None:
        """Wait for the GPU and give it the first request: it works while the caller sees to what is left to see to."""
        for stage in self._stages[:1]:
            self._begun[stage] = self._begin(stage)

    def run(self) -> None:
        """Stage by stage, and within a stage checkpoint by checkpoint, the one that is loaded first."""
        for stage in self._stages:
            if self._working(stage):
                self._run_stage(stage)

    def _working(self, stage: str) -> list[Item]:
        return [item for item in self.items if item.has(stage)]

    def _begin(self, stage: str) -> list[Group]:
        """Plan the stage, and send its first request."""
        plans = [(item, self._named(item, item.requests(stage))) for item in self._working(stage)]
        groups = _by_checkpoint(stage, plans)
        if not self._on_gpu:
            self._take_gpu(groups)
        groups.sort(key=lambda group: group.checkpoint is None or group.checkpoint.file != self._loaded)
        asked = [request for group in groups for request in self._asked(group)]
        self.sender.plan(asked, final=stage == self._stages[-1])
        self.sender.start()  # the GPU works while Prefect is told
        return groups

    def _run_stage(self, stage: str) -> None:
        started = time.monotonic()
        groups = self._begun.pop(stage, None) or self._begin(stage)
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
        """Wait for the GPU with everything ready, and see which checkpoint it is left with."""
        for group in groups:
            self.sender.prepare(group.requests[0])
        checkpoints = [group.checkpoint for group in groups if group.checkpoint is not None]
        # Asked before the wait as well: if the run before us paints with one of ours, it need not be asked again. If
        # it goes on to another, our first picture pays for the load; it names its checkpoint and is checked.
        self._loaded = self._which_is_loaded(checkpoints)
        self.sender.take_gpu()
        self._on_gpu = True
        self._loaded = self._loaded or self._which_is_loaded(checkpoints)

    def _which_is_loaded(self, checkpoints: list[Checkpoint]) -> str:
        return next((one.file for one in checkpoints if is_loaded(one, self.sender.client)), "")

    def _asked(self, group: Group) -> list[Request]:
        """All that a group asks of the WebUI: the switch of its checkpoint, if it needs one, and its requests."""
        if group.checkpoint is None or group.checkpoint.file == self._loaded or self._is_made(group):
            return group.requests
        return [switch_request(group.checkpoint, group.standing), *group.requests]

    def _is_made(self, group: Group) -> bool:
        """Whether a retried run made all of it before, so that its checkpoint need not be loaded."""
        return all(self.sender.is_made(request) for request in group.requests)

    def _named(self, item: Item, requests: list[Request]) -> list[Request]:
        """The requests with their job's name, where there are several jobs to tell apart."""
        if len(self.items) == 1:
            return requests
        return [request.model_copy(update={"job": item.job.name}) for request in requests]

    def _run_group(self, stage: str, group: Group) -> list[Picture]:
        if group.checkpoint is not None and len(self._asked(group)) > len(group.requests):
            switch_checkpoint(group.checkpoint, group.standing, self.sender)
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
                    pictures += PAINTERS[stage](request, self.sender)
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
        poller = watch.submit(stage, self.sender, self.progress, stop)
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
