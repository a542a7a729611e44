"""The stages of jobs, run one after the other on one sender to the GPU.

All images of a stage come before the next stage, so that a stage with its own checkpoint costs one switch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.handback import HandBack, check_not_asked, forget_request, handing_back, unless_away
from flows.log import BatchIncomplete
from flows.report import report
from gpu.lease import Lease
from gpu.request import Request
from gpu.sender import Sender
from store.picture import Picture
from tasks.checkpoint import is_loaded, switch_checkpoint, switch_request
from tasks.preflight import JobRefused, preflight
from tasks.progress import JobProgress, watch
from tasks.publish import Published, Publisher
from tasks.stage import Item, Job, Stage
from tasks.status import RunState, due_at, this_run
from webui.models import Checkpoint

POLLER_ENDS_WITHIN = 1.0  # seconds


def paint(
    name: str, jobs: Sequence[Job], webui: WebUI | None, gallery: Gallery | None, *, tolerant: bool
) -> list[Published]:
    """Look the jobs up at the WebUI, paint and publish them. However that ends, also by a cancel (Prefect raises a
    BaseException then, and kills the process 30 s later), the run's page lists what was made.

    Args:
        webui: None: the block named "default"; so the gallery.
        tolerant: an error concerns the jobs that it belongs to, and the others go on.

    Raises:
        Abort: the run has handed back (see handback).
        BatchIncomplete: jobs failed, and the others went on.
        JobRefused, WebUIError, OSError: a job failed, and nothing goes on after it.
    """
    with ThreadPoolExecutor() as beside:  # each block is a call to Prefect, and this one is needed last
        reading = beside.submit(copy_context().run, Gallery.chosen, gallery)
        webui = WebUI.chosen(webui)
        client = webui.get_client()
        with handing_back():
            items = unless_away(client, preflight, jobs, client, reading.result)
    gallery = reading.result()
    refused = [str(item.error) for item in items if item.error]
    if refused and not tolerant:
        raise JobRefused(f"{webui.base_url} would have painted something else: {'; '.join(refused)}")

    run, state = this_run(), RunState()
    sender = Sender(
        client,
        run=str(run.id),
        lease=Lease(webui.base_url, run=str(run.id), name=run.name),
        on_wait=state.waiting,
        may_send=(lambda: check_not_asked(run.id)) if run.deployment_id is not None else lambda: None,
    )
    publisher = Publisher(gallery, run=str(run.id), started=due_at(), webui=webui.base_url)
    pipeline = Pipeline(items, sender, publisher, tolerant)
    with handing_back():
        try:
            with closing(state), sender:
                pipeline.run()
        finally:
            forget_request(run.id)
            pipeline.wait_until_published()
            pipeline.progress.flush()
            drawn = report(name, items, pipeline.timings, gallery)

    failed = [(item.job.title, item.error) for item in items if item.error is not None]
    if failed and not tolerant:
        raise failed[0][1]
    if failed:
        get_run_logger().error("%d of %d jobs failed; the others are in the gallery", len(failed), len(items))
        raise BatchIncomplete(
            f"{len(failed)} of {len(items)} jobs failed, the others are in the gallery. Retry repeats only what is "
            "missing. " + "; ".join(f"{job}: {error}" for job, error in failed[:20])
        )
    return [*(published for item in items for _, published in sorted(item.published.items())), *drawn]


@dataclass
class Group:
    """The requests of one stage that one checkpoint paints (None: none is needed), each with the item it is of."""

    checkpoint: Checkpoint | None
    requests: list[tuple[Item, Request]] = field(default_factory=list)

    @property
    def left(self) -> list[Request]:
        """What no earlier attempt of the run has painted."""
        return [request for item, request in self.requests if not item.kept(request)]

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings that the first request overrides: a switch with the same ones loads what the group needs."""
        payload = self.requests[0][1].payload
        return {key: payload[key] for key in ("override_settings", "override_settings_restore_afterwards")}

    def switch(self, loaded: str) -> list[Request]:
        """The request that loads the checkpoint; none where the file ``loaded`` is it, or nothing is left to paint."""
        if self.checkpoint is None or self.checkpoint.file == loaded or not self.left:
            return []
        return [switch_request(self.checkpoint, self.overrides)]


class Pipeline:
    """Runs the stages of some items on one sender, and has each picture published that is through its last stage.

    ``tolerant``: an error concerns the items that it belongs to, and the others go on.
    """

    def __init__(self, items: list[Item], sender: Sender, publisher: Publisher, tolerant: bool) -> None:
        self._items, self._sender, self._publisher, self._tolerant = items, sender, publisher, tolerant
        self._stages = [stage for stage in items[0].job.stages() if self._is_wanted(stage)]
        weights = dict.fromkeys((stage.name for stage in self._stages), 0.0)
        for item in items:
            for step in item.steps if item.error is None else ():
                weights[step.stage.name] += step.stage.weight(step) * item.job.total
        self.progress = JobProgress(weights)
        self.timings: list[dict[str, Any]] = []  # a row of each stage
        self._publishing: list[tuple[Item, Picture, Future[Published]]] = []
        self._on_gpu = False
        self._loaded = ""  # the checkpoint that the WebUI has, by file name

    def run(self) -> None:
        """Stage by stage, and within a stage checkpoint by checkpoint, the one that is loaded first."""
        for stage in filter(self._is_wanted, self._stages):
            started = time.monotonic()
            groups, pictures = self._begin(stage), list[Picture]()
            try:
                with self._watched(stage, sum(len(one.seeds) for group in groups for _, one in group.requests)):
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

    def wait_until_published(self) -> None:
        """Note with each item what of it is in the gallery by now, and what the gallery did not take."""
        self._publisher.close()
        for item, picture, published in self._publishing:
            try:
                item.published[picture.index] = published.result()
            except Exception as error:
                item.error = item.error or error
                get_run_logger().error("%s: %s", item.job.title, error)

    def _is_wanted(self, stage: Stage[Any]) -> bool:
        """Whether an item has the stage and has not failed before it."""
        return any(item.step(stage) for item in self._items)

    def _begin(self, stage: Stage[Any]) -> list[Group]:
        """Make the stage's requests, and send the first one."""
        groups = self._groups(stage)
        if not self._on_gpu and (left := [group for group in groups if group.left]):
            self._take_gpu(left)
        groups.sort(key=lambda group: group.checkpoint is None or group.checkpoint.file != self._loaded)
        planned = [request for group in groups for request in [*group.switch(self._loaded), *group.left]]
        self._sender.plan(planned, final=stage is self._stages[-1])
        self._sender.start()  # the GPU works while Prefect is told
        return groups

    def _groups(self, stage: Stage[Any]) -> list[Group]:
        """The stage's requests in groups of one checkpoint, in the order in which the checkpoints appear."""
        groups: dict[str, Group] = {}
        for item in self._items:
            with self._concerns([item]):
                if (step := item.step(stage)) is None or not (requests := item.requests(step)):
                    continue
                # With the job's name, where there are several to tell apart.
                about = {"job": item.job.title if len(self._items) > 1 else "", "templates": item.job.templates}
                checkpoint = item.checkpoint(step)
                group = groups.setdefault(checkpoint.file if checkpoint else "", Group(checkpoint))
                group.requests += [(item, request.model_copy(update=about)) for request in requests]
        return list(groups.values())

    def _take_gpu(self, groups: list[Group]) -> None:
        """Wait for the GPU with everything ready, and see which checkpoint it is left with."""
        for group in groups:
            self._sender.prepare(group.left[0])
        checkpoints = [group.checkpoint for group in groups if group.checkpoint is not None]
        # Asked before the wait as well: if the run before us paints with one of ours, it need not be asked again. If
        # it goes on to another, our first picture pays for the load; it names its checkpoint and is checked.
        self._loaded = self._which_is_loaded(checkpoints)
        self._sender.take_gpu()
        self._on_gpu = True
        self._loaded = self._loaded or self._which_is_loaded(checkpoints)

    def _which_is_loaded(self, checkpoints: list[Checkpoint]) -> str:
        return next((one.file for one in checkpoints if is_loaded(one, self._sender.client)), "")

    def _run_group(self, stage: Stage[Any], group: Group, pictures: list[Picture]) -> None:
        """Paint a group; ``pictures`` grows by each one that is there."""
        if group.checkpoint is not None and (switch := group.switch(self._loaded)):
            with self._concerns([item for item, _ in group.requests]):
                self._sender.check_may_send(switch[0])
                unless_away(self._sender.client, switch_checkpoint, group.checkpoint, group.overrides, self._sender)
                self._loaded = group.checkpoint.file
        for item, request in group.requests:
            with self._concerns([item]):
                if item.error is None:
                    painted = self._paint(stage, item, request)
                    item.advance(painted)
                    pictures += painted
            self.progress.done(request)

    def _paint(self, stage: Stage[Any], item: Item, request: Request) -> list[Picture]:
        """A request's pictures. What was painted before (a retried run) costs nothing."""
        pictures = item.kept(request)
        if not pictures:
            self._sender.check_may_send(request)  # here, so that no task begins that would only fail
            pictures = unless_away(self._sender.client, stage.task, request, self._sender)
            if isinstance(pictures, State):  # somebody skipped it
                item.skip(request)
                pictures = []
        for picture in pictures:
            if item.steps[-1].stage is stage and picture.index not in item.published:
                published = self._publisher.put(picture, job=item.job.name, key=item.key, cell=item.job.cell)
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
            if not self._tolerant:
                raise
            for item in items:
                item.error = item.error or error
            get_run_logger().error("%s failed: %s", ", ".join(dict.fromkeys(one.job.title for one in items)), error)

    @contextmanager
    def _watched(self, stage: Stage[Any], pictures: int) -> Iterator[None]:
        """Poll the WebUI's progress while the stage runs: one polling task for all its pictures."""
        stop = threading.Event()
        self.progress.begin(stage.name, pictures)
        poller = watch.submit(stage.name, self._sender, self.progress, stop)
        try:
            yield
            self.progress.end()
        finally:
            stop.set()
            poller.wait(POLLER_ENDS_WITHIN)
