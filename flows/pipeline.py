"""The stages of jobs, run one after the other on one sender to the GPU.

All images of a stage come before the next stage, so that a stage with its own checkpoint costs one switch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.handback import HandBack, check_not_asked, forget_request, handing_back, unless_away
from flows.report import report
from gpu.lease import Lease
from gpu.request import Request
from gpu.sender import Sender
from store.picture import Picture
from tasks.checkpoint import is_loaded, switch_checkpoint, switch_request
from tasks.preflight import preflight
from tasks.progress import JobProgress, watch
from tasks.publish import Published, Publisher
from tasks.stage import Item, Job, Stage, Step
from tasks.status import RunState, due_at, this_run
from webui.models import Checkpoint

POLLER_ENDS_WITHIN = 1.0  # seconds


def look_up(jobs: Sequence[Job], webui: WebUI, gallery: Gallery) -> list[Item]:
    """The jobs as items, looked up at the WebUI, which may be away when the run starts.

    Raises:
        Abort: the run has handed back (see handback).
    """
    client = webui.get_client()
    with handing_back():
        return unless_away(client, preflight, jobs, client, gallery)


@contextmanager
def sender_to(webui: WebUI) -> Iterator[Sender]:
    """The sender to a WebUI's GPU; says in log and state what is waited for.

    Raises:
        HandBack: the run was asked to hand back, or its WebUI is away.
    """
    run, state = this_run(), RunState()

    sender = Sender(
        webui.get_client(),
        run=str(run.id),
        lease=Lease(webui.base_url, run=str(run.id), name=run.name),
        on_wait=state.waiting,
        may_send=(lambda: check_not_asked(run.id)) if run.deployment_id is not None else lambda: None,
    )
    with closing(state), sender:
        try:
            yield sender
        finally:
            forget_request(run.id)


def make(name: str, items: list[Item], webui: WebUI, gallery: Gallery, *, tolerant: bool = False) -> None:
    """Paint and publish the jobs that passed preflight. However that ends, also by a cancel (Prefect raises a
    BaseException then, and kills the process 30 s later), the run's page lists what was made.

    Raises:
        Abort: the run has handed back (see handback).
        WebUIError, OSError: a job failed; not where ``tolerant``, then its item has the error.
    """
    publisher = Publisher(gallery, run=str(this_run().id), started=due_at(), webui=webui.base_url)
    pipeline = Pipeline(items, publisher, tolerant)
    with handing_back():
        try:
            with sender_to(webui) as sender:
                pipeline.run(sender)
        finally:
            pipeline.wait_until_published()
            pipeline.progress.flush()
            report(name, items, pipeline.timings)


@dataclass
class Group:
    """The requests of one stage that one checkpoint paints (None: none is needed), item by item."""

    checkpoint: Checkpoint | None
    items: list[tuple[Item, list[Request]]] = field(default_factory=list)

    @property
    def requests(self) -> list[Request]:
        return [request for _, requests in self.items for request in requests]

    @property
    def left(self) -> list[Request]:
        """What no earlier attempt of the run has painted."""
        return [request for item, requests in self.items for request in requests if not item.kept(request)]

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings that the group's first request overrides: a switch with the same ones loads what it needs."""
        payload = self.requests[0].payload
        return {key: payload[key] for key in ("override_settings", "override_settings_restore_afterwards")}


@dataclass
class Pipeline:
    """Runs the stages of some items on one sender, and has each picture published that is through its last stage.

    ``tolerant``: an error concerns the items that it belongs to, and the others go on.
    """

    items: list[Item]
    publisher: Publisher
    tolerant: bool = False
    timings: list[dict[str, Any]] = field(default_factory=list)
    sender: Sender = field(init=False)

    def __post_init__(self) -> None:
        self._stages = [stage for stage in self.items[0].job.stages() if self._steps(stage)]
        self.progress = JobProgress(
            {
                stage.name: sum(stage.weight(step) * item.job.total for item, step in self._steps(stage))
                for stage in self._stages
            }
        )
        self._publishing: list[tuple[Item, Picture, Future[Published]]] = []
        self._on_gpu = False
        self._loaded = ""  # the checkpoint that the WebUI has, by file name

    def run(self, sender: Sender) -> None:
        """Stage by stage, and within a stage checkpoint by checkpoint, the one that is loaded first."""
        self.sender = sender
        for stage in self._stages:
            if self._steps(stage):
                self._run_stage(stage)

    def wait_until_published(self) -> None:
        """Note with each item what of it is in the gallery by now, and what the gallery did not take."""
        self.publisher.close()
        for item, picture, published in self._publishing:
            try:
                item.published[picture.index] = published.result()
            except Exception as error:
                item.error = item.error or error
                get_run_logger().error("%s: %s", item.job.name, error)

    def _steps(self, stage: Stage[Any]) -> list[tuple[Item, Step[Any]]]:
        return [(item, step) for item in self.items if (step := item.step(stage)) is not None]

    def _begin(self, stage: Stage[Any]) -> list[Group]:
        """Make the stage's requests, and send the first one."""
        groups = self._groups(stage)
        if not self._on_gpu and any(group.left for group in groups):
            self._take_gpu([group for group in groups if group.left])
        groups.sort(key=lambda group: group.checkpoint is None or group.checkpoint.file != self._loaded)
        planned = [request for group in groups for request in [*self._switch(group), *group.left]]
        self.sender.plan(planned, final=stage is self._stages[-1])
        self.sender.start()  # the GPU works while Prefect is told
        return groups

    def _groups(self, stage: Stage[Any]) -> list[Group]:
        """The stage's requests in groups of one checkpoint, in the order in which the checkpoints appear."""
        groups: dict[str, Group] = {}
        for item, step in self._steps(stage):
            with self._concerns([item]):
                if not (requests := item.requests(step)):
                    continue
                if len(self.items) > 1:  # with the job's name, where there are several to tell apart
                    requests = [request.model_copy(update={"job": item.job.name}) for request in requests]
                checkpoint = item.checkpoint(step)
                group = groups.setdefault(checkpoint.file if checkpoint else "", Group(checkpoint))
                group.items.append((item, requests))
        return list(groups.values())

    def _take_gpu(self, groups: list[Group]) -> None:
        """Wait for the GPU with everything ready, and see which checkpoint it is left with."""
        for group in groups:
            self.sender.prepare(group.left[0])
        checkpoints = [group.checkpoint for group in groups if group.checkpoint is not None]
        # Asked before the wait as well: if the run before us paints with one of ours, it need not be asked again. If
        # it goes on to another, our first picture pays for the load; it names its checkpoint and is checked.
        self._loaded = self._which_is_loaded(checkpoints)
        self.sender.take_gpu()
        self._on_gpu = True
        self._loaded = self._loaded or self._which_is_loaded(checkpoints)

    def _which_is_loaded(self, checkpoints: list[Checkpoint]) -> str:
        return next((one.file for one in checkpoints if is_loaded(one, self.sender.client)), "")

    def _switch(self, group: Group) -> list[Request]:
        """The request that loads a group's checkpoint; none where it is loaded, or nothing is left to paint."""
        checkpoint = group.checkpoint
        if checkpoint is None or checkpoint.file == self._loaded or not group.left:
            return []
        return [switch_request(checkpoint, group.overrides)]

    def _run_stage(self, stage: Stage[Any]) -> None:
        started = time.monotonic()
        groups = self._begin(stage)
        pictures: list[Picture] = []
        try:
            with self._watched(stage, sum(len(request.seeds) for group in groups for request in group.requests)):
                for group in groups:
                    self._run_group(stage, group, pictures)
        finally:
            self.timings.append(
                {
                    "stage": stage.name,
                    "pictures": len(pictures),
                    "seconds": round(time.monotonic() - started, 1),
                    "at the WebUI": round(sum(picture.seconds for picture in pictures), 1),
                    "checkpoint": ", ".join(sorted({picture.checkpoint for picture in pictures})),
                }
            )

    def _run_group(self, stage: Stage[Any], group: Group, pictures: list[Picture]) -> None:
        """Paint a group; ``pictures`` grows by each one that is there."""
        if group.checkpoint is not None and self._switch(group):
            with self._concerns([item for item, _ in group.items]):
                self.sender.check_may_send(switch_request(group.checkpoint, group.overrides))
                unless_away(self.sender.client, switch_checkpoint, group.checkpoint, group.overrides, self.sender)
                self._loaded = group.checkpoint.file
        for item, requests in group.items:
            so_far = len(pictures)
            try:
                for request in requests:
                    with self._concerns([item]):
                        if item.error is None:
                            pictures += self._paint(stage, item, request)
                    self.progress.done(request)
            finally:
                item.advance(pictures[so_far:])

    def _paint(self, stage: Stage[Any], item: Item, request: Request) -> list[Picture]:
        """A request's pictures. What was painted before (a retried run) costs nothing."""
        pictures = item.kept(request)
        if not pictures:
            self.sender.check_may_send(request)  # here, so that no task begins that would only fail
            pictures = unless_away(self.sender.client, stage.task, request, self.sender)
            if isinstance(pictures, State):  # somebody skipped it
                item.skip(request)
                pictures = []
        for picture in pictures:
            if item.steps[-1].stage is stage and picture.index not in item.published:
                published = self.publisher.put(picture, job=item.job.name, key=item.key)
                self._publishing.append((item, picture, published))
        return pictures

    @contextmanager
    def _concerns(self, items: list[Item]) -> Iterator[None]:
        """Keep an error to the items that it belongs to, where the others go on."""
        try:
            yield
        except HandBack:
            raise  # concerns all of them
        except Exception as error:
            if not self.tolerant:
                raise
            for item in items:
                item.error = item.error or error
            get_run_logger().error("%s failed: %s", ", ".join(item.job.name for item in items), error)

    @contextmanager
    def _watched(self, stage: Stage[Any], pictures: int) -> Iterator[None]:
        """Poll the WebUI's progress while the stage runs: one polling task for all its pictures."""
        stop = threading.Event()
        self.progress.begin(stage.name, pictures)
        poller = watch.submit(stage.name, self.sender, self.progress, stop)
        try:
            yield
            self.progress.end()
        finally:
            stop.set()
            poller.wait(POLLER_ENDS_WITHIN)
