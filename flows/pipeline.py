"""The stages of jobs, run one after the other on one sender to the GPU.

All images of a stage come before the next stage, so that a stage with its own checkpoint costs one switch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from prefect import get_run_logger

from blocks.connection import WebUI
from gpu.lease import Lease
from gpu.request import Picture, Request
from gpu.sender import Sender
from tasks.checkpoint import is_loaded, switch_checkpoint, switch_request
from tasks.paint import is_painted
from tasks.progress import JobProgress, watch
from tasks.stage import Item, Stage, Step
from tasks.status import RunState, this_run
from webui.errors import Unreachable
from webui.models import Checkpoint

POLLER_ENDS_WITHIN = 1.0  # seconds


@contextmanager
def sender_to(webui: WebUI) -> Iterator[Sender]:
    """The sender to a WebUI's GPU; says in log and state what is waited for."""
    run, state = this_run(), RunState()
    run_id = str(run.id)

    sender = Sender(
        webui.get_client(),
        run=run_id,
        lease=Lease(webui.base_url, run=run_id, name=run.name),
        made=lambda request: is_painted(request, run_id),
        on_wait=state.waiting,
    )
    with closing(state), sender:
        yield sender


@dataclass
class Group:
    """The requests of one stage that one checkpoint paints (None: none is needed), item by item."""

    checkpoint: Checkpoint | None
    items: list[tuple[Item, list[Request]]] = field(default_factory=list)

    @property
    def requests(self) -> list[Request]:
        return [request for _, requests in self.items for request in requests]

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings that the group's first request overrides: a switch with the same ones loads what it needs."""
        payload = self.requests[0].payload
        return {key: payload[key] for key in ("override_settings", "override_settings_restore_afterwards")}


@dataclass
class Pipeline:
    """Runs the stages of some items on one sender.

    ``tolerant``: an error concerns the items that it belongs to, and the others go on. ``on_done``: called with each
    item that is through its last stage, while the GPU works on the next one.
    """

    items: list[Item]
    sender: Sender
    tolerant: bool = False
    on_done: Callable[[Item], None] = lambda item: None
    timings: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stages = [stage for stage in self.items[0].job.stages() if self._steps(stage)]
        self.progress = JobProgress(
            {
                stage.name: sum(stage.weight(step) * item.job.total for item, step in self._steps(stage))
                for stage in self._stages
            }
        )
        self._begun: dict[str, list[Group]] = {}
        self._on_gpu = False
        self._loaded = ""  # the checkpoint that the WebUI has, by file name

    def start(self) -> None:
        """Wait for the GPU and give it the first request: it works while the caller sees to what is left to see to."""
        for stage in self._stages[:1]:
            self._begun[stage.name] = self._begin(stage)

    def run(self) -> None:
        """Stage by stage, and within a stage checkpoint by checkpoint, the one that is loaded first."""
        for stage in self._stages:
            if self._steps(stage):
                self._run_stage(stage)

    def _steps(self, stage: Stage[Any]) -> list[tuple[Item, Step[Any]]]:
        return [(item, step) for item in self.items if (step := item.step(stage)) is not None]

    def _begin(self, stage: Stage[Any]) -> list[Group]:
        """Make the stage's requests, and send the first one."""
        groups = self._groups(stage)
        if not groups:
            return []
        if not self._on_gpu:
            self._take_gpu(groups)
        groups.sort(key=lambda group: group.checkpoint is None or group.checkpoint.file != self._loaded)
        planned = [request for group in groups for request in [*self._switch(group), *group.requests]]
        self.sender.plan(planned, final=stage is self._stages[-1])
        self.sender.start()  # the GPU works while Prefect is told
        return groups

    def _groups(self, stage: Stage[Any]) -> list[Group]:
        """The stage's requests in groups of one checkpoint, in the order in which the checkpoints appear."""
        groups: dict[str, Group] = {}
        for item, step in self._steps(stage):
            with self._concerns([item]):
                requests = stage.requests(step, item)
                if len(self.items) > 1:  # with the job's name, where there are several to tell apart
                    requests = [request.model_copy(update={"job": item.job.name}) for request in requests]
                checkpoint = item.checkpoint(step)
                group = groups.setdefault(checkpoint.file if checkpoint else "", Group(checkpoint))
                group.items.append((item, requests))
        return list(groups.values())

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

    def _switch(self, group: Group) -> list[Request]:
        """The request that loads a group's checkpoint; none where it is loaded, or a retry finds all painted."""
        checkpoint = group.checkpoint
        if checkpoint is None or checkpoint.file == self._loaded or all(map(self.sender.is_made, group.requests)):
            return []
        return [switch_request(checkpoint, group.overrides)]

    def _run_stage(self, stage: Stage[Any]) -> None:
        started = time.monotonic()
        groups = self._begun.pop(stage.name, None) or self._begin(stage)
        pictures: list[Picture] = []
        with self._watched(stage, sum(len(request.seeds) for group in groups for request in group.requests)):
            for group in groups:
                pictures += self._run_group(stage, group)
        self.timings.append(
            {
                "stage": stage.name,
                "pictures": len(pictures),
                "seconds": round(time.monotonic() - started, 1),
                "at the WebUI": round(sum(picture.seconds for picture in pictures), 1),
                "checkpoint": ", ".join(sorted({picture.checkpoint for picture in pictures})),
            }
        )

    def _run_group(self, stage: Stage[Any], group: Group) -> list[Picture]:
        if group.checkpoint is not None and self._switch(group):
            with self._concerns([item for item, _ in group.items]):
                switch_checkpoint(group.checkpoint, group.overrides, self.sender)
                self._loaded = group.checkpoint.file
        painted: list[Picture] = []
        for item, requests in group.items:
            with self._concerns([item]):
                item.pictures = self._paint(stage, item, requests)
                painted += item.pictures
                if item.error is None and item.steps[-1].stage is stage:
                    self.on_done(item)
        return painted

    def _paint(self, stage: Stage[Any], item: Item, requests: list[Request]) -> list[Picture]:
        """An item's pictures. A request that was painted before (a retried run) costs nothing."""
        pictures: list[Picture] = []
        for request in requests:
            with self._concerns([item]):
                if item.error is None:
                    pictures += stage.task(request, self.sender)
            self.progress.done(request)
        return pictures

    @contextmanager
    def _concerns(self, items: list[Item]) -> Iterator[None]:
        """Keep an error to the items that it belongs to, where the others go on."""
        try:
            yield
        except Unreachable:
            raise  # without a WebUI the others would fail one by one
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
