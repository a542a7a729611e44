"""Progress: what the WebUI says of our job, as a bar that only goes forward, artifacts and log lines.

Progress is advice; where nothing can be had, stage boundaries still move the bar.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from gpu.exchange import Exchange
from gpu.poller import poll
from gpu.progress import ALMOST, Reading
from gpu.request import Request
from gpu.sender import Sender
from store.settings import settings

FLUSHED_WITHIN = 2.0  # seconds that a job's end waits for each artifact
WRITE_EVERY = 1.0  # seconds between two writes of one artifact: Prefect's SQLite has one writer

# Two writers at once collide in Prefect's SQLite (503), and its client then sleeps for two seconds.
ONE_WRITER = threading.Lock()

Callback = Callable[[float, float | None], None]


class JobProgress:
    """The bars of a job: one per stage and one for all, as Prefect artifacts, and a callback.

    Args:
        stages: each stage's name and its share of the job, in any unit (pictures × steps).
        callback: called with ``(percent of the stage 0 to 100, seconds left or None)``.
        artifact: makes the artifact of a key and a title.
    """

    def __init__(
        self,
        stages: dict[str, float],
        *,
        callback: Callback | None = None,
        artifact: Callable[[str, str], ProgressArtifact] | None = None,
    ) -> None:
        artifact = artifact or ProgressArtifact
        self._new_artifact = artifact
        self._shares = stages
        self._callback = callback
        self._lock = threading.Lock()
        self._before = 0.0  # shares of the stages that are done
        self._stage = ""
        self._pictures = 1  # of this stage
        self._done = 0  # pictures of this stage that are done
        self._fraction = 0.0  # of this stage
        self._job = artifact("job-progress", "the whole job")
        self._artifact: ProgressArtifact | None = None
        self._artifacts = [self._job]

    @property
    def total(self) -> float:
        """Percent of the whole job."""
        whole = sum(self._shares.values()) or 1.0
        return 100.0 * min(1.0, (self._before + self._shares.get(self._stage, 0.0) * self._fraction) / whole)

    def begin(self, stage: str, pictures: int) -> None:
        """A stage of so many pictures begins."""
        with self._lock:
            self._stage, self._pictures, self._done, self._fraction = stage, max(1, pictures), 0, 0.0
            self._artifact = self._new_artifact(f"{stage}-progress", stage)
            self._artifacts.append(self._artifact)
        self._show(0.0, None, stage, boundary=True)

    def moved(self, request: Request, bar: float, eta: float | None, text: str) -> None:
        """The request that is at the WebUI came to ``bar`` (0 to 1). A step back is ignored."""
        fraction = (self._done + bar * len(request.seeds)) / self._pictures
        if fraction > self._fraction:
            self._show(min(fraction, ALMOST), eta, text)

    def done(self, request: Request) -> None:
        """The request's pictures are on disk (or will never be, in a batch that goes on)."""
        self._done += len(request.seeds)
        fraction = min(ALMOST, max(self._fraction, self._done / self._pictures))
        self._show(fraction, None, f"{self._done}/{self._pictures} done")

    def end(self) -> None:
        """The stage has returned."""
        self._show(1.0, 0.0, "done", boundary=True)
        with self._lock:
            self._before += self._shares.get(self._stage, 0.0)
            self._stage, self._fraction = "", 0.0

    def flush(self) -> None:
        """Wait until the last that there was to show is written, at most two seconds for each artifact."""
        for artifact in self._artifacts:
            artifact.flush(FLUSHED_WITHIN)

    def _show(self, fraction: float, eta: float | None, text: str, *, boundary: bool = False) -> None:
        with self._lock:
            self._fraction = max(self._fraction, fraction)
            if self._artifact is not None:
                self._artifact.show(100 * self._fraction, text, now=boundary)
            self._job.show(self.total, text, now=boundary)
        if self._callback is not None:
            with suppress(Exception):  # a callback that fails is its own loss
                self._callback(100 * self._fraction, eta)


class ProgressArtifact:
    """One progress artifact: written at most once a second, by a thread of its own, so that a Prefect server that is
    slow or gone is never in a generation's way. Only the latest that there is to show is written."""

    def __init__(self, key: str, title: str) -> None:
        self._key, self._title = key, title
        self._id: UUID | None = None
        self._written = -WRITE_EVERY
        self._lock = threading.Lock()
        self._latest: tuple[float, str] | None = None
        self._hurry = threading.Event()
        self._writer: threading.Thread | None = None

    def show(self, percent: float, text: str, *, now: bool = False) -> None:
        """Have it written; ``now``: this one does not wait for its second (a stage begins or ends)."""
        with self._lock:
            self._latest = (percent, f"{self._title}: {text}")
            if now:
                self._hurry.set()
            if self._writer is None:
                # With the context of whoever asks, or the artifact would belong to no run.
                write = copy_context().run
                self._writer = threading.Thread(target=write, args=(self._write,), name="artifact", daemon=True)
                self._writer.start()

    def flush(self, timeout: float) -> None:
        """Wait until the latest is written, at most ``timeout`` seconds."""
        if (writer := self._writer) is not None:
            self._hurry.set()
            writer.join(timeout)

    def _write(self) -> None:
        while True:
            with self._lock:
                if self._latest is None:
                    self._writer = None
                    return
            self._hurry.wait(max(0.0, self._written + WRITE_EVERY - time.monotonic()))
            with self._lock:
                self._hurry.clear()
                assert self._latest is not None  # only this thread takes it away
                (percent, text), self._latest = self._latest, None
            self._written = time.monotonic()
            with suppress(Exception), ONE_WRITER:  # progress is advice; the next write says the same, only later
                if self._id is None:
                    self._id = create_progress_artifact(percent, key=self._key, description=text)  # type: ignore[assignment]
                else:
                    update_progress_artifact(self._id, progress=percent, description=text)


@task(name="progress", task_run_name="progress · {stage}", cache_policy=NO_CACHE, persist_result=False)
def watch(stage: str, sender: Sender, job: JobProgress, stop: threading.Event) -> None:
    """The polling subtask of one stage: bar, artifacts, log lines and, where asked for, live previews."""
    logger = get_run_logger()
    logged = -1.0

    def listener(exchange: Exchange, bar: float, eta: float | None, reading: Reading) -> None:
        nonlocal logged
        request = exchange.request
        text = line(request, bar, eta, reading)
        job.moved(request, bar, eta, text)
        if time.monotonic() - logged >= WRITE_EVERY:
            logged = time.monotonic()
            logger.info(text)
        if reading.preview:
            create_markdown_artifact(f"{text}\n\n![live preview]({reading.preview})", key=f"{stage}-preview")

    poll(
        sender,
        stop,
        listener,
        interval=settings().poll_interval,
        preview_every=settings().preview_every,
    )


def line(request: Request, bar: float, eta: float | None, reading: Reading) -> str:
    """A reading as a person reads it: ``txt2img 2/4: step 12/20, 60 %, 8 s left``."""
    parts = [f"step {reading.step}/{reading.steps}"] if reading.step is not None else []
    parts.append(f"{round(100 * bar)} %")
    if eta is not None:
        parts.append(f"{round(eta)} s left")
    return f"{request.stage} {request.first}/{request.of}: {', '.join(parts)}"
