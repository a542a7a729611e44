"""Progress: what the WebUI says of our job, as a bar that only goes forward, artifacts and log lines.

Progress is advice; where nothing can be had, stage boundaries still move the bar.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from contextvars import copy_context
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.context import FlowRunContext

from gpu.exchange import Exchange
from gpu.poller import poll
from gpu.progress import ALMOST, Reading
from gpu.request import SWITCH, Request
from gpu.sender import Sender
from store.settings import settings

FLUSHED_WITHIN = 2.0  # seconds that a job's end waits for its artifacts
WRITE_EVERY = 1.0  # seconds between two writes of the artifacts, at least: Prefect's SQLite has one writer


class JobProgress:
    """The bars of a job as Prefect artifacts: one for each stage, and one for the whole job.

    A thread writes them, each with what it shows last, so that a Prefect server that is slow or gone holds up no
    generation. A run that is tried again goes on with the artifacts of its earlier attempt.

    Args:
        weights: each stage's name and its part of the job, in any unit (pictures × steps).
    """

    def __init__(self, weights: dict[str, float]) -> None:
        self._weights = weights
        self._fractions = dict.fromkeys(weights, 0.0)  # of each stage, 0 to 1
        self._stage = ""
        self._pictures, self._done = 1, 0  # of this stage: all, and those that are done
        self._lock = threading.Lock()
        self._bars: dict[str, tuple[float, str]] = {}  # by the artifact's key: percent, description
        self._write_now, self._is_last = threading.Event(), False
        # With the context of the run, or the artifacts would belong to none.
        write = copy_context().run
        self._writer = threading.Thread(target=write, args=(self._write,), name="artifacts", daemon=True)
        self._writer.start()

    @property
    def total(self) -> float:
        """Percent of the whole job."""
        done = sum(weight * self._fractions[stage] for stage, weight in self._weights.items())
        return 100.0 * done / sum(self._weights.values())

    def begin(self, stage: str, pictures: int) -> None:
        """A stage of so many pictures begins."""
        self._stage, self._pictures, self._done = stage, max(1, pictures), 0
        self._show(0.0, "begins")
        self._write_now.set()

    def moved(self, request: Request, bar: float, text: str) -> float:
        """The request that is at the WebUI came to ``bar`` (0 to 1); returns how far the stage is, 0 to 1. One that
        paints no picture of the stage, but loads its checkpoint, moves no bar."""
        fraction = (self._done + bar * len(request.seeds)) / self._pictures if request.stage == self._stage else 0.0
        return self._show(min(ALMOST, fraction), text)

    def done(self, request: Request) -> None:
        """The request's pictures are on disk (or will never be, in a batch that goes on)."""
        self._done += len(request.seeds)
        self._show(min(ALMOST, self._done / self._pictures), f"{self._done}/{self._pictures} done")

    def end(self) -> None:
        """The stage has returned."""
        self._show(1.0, "done")
        self._write_now.set()
        self._stage = ""

    def flush(self) -> None:
        """Wait until the latest is written, at most two seconds; nothing is written after that."""
        self._is_last = True
        self._write_now.set()
        self._writer.join(FLUSHED_WITHIN)

    def _show(self, fraction: float, text: str) -> float:
        """Have it written within a second; a step back is ignored."""
        if not (stage := self._stage):
            return 0.0  # a late look, between two stages
        with self._lock:
            self._fractions[stage] = fraction = max(self._fractions[stage], fraction)
            self._bars[f"{stage}-progress"] = (100 * fraction, f"{stage}: {text}")
            self._bars["job-progress"] = (self.total, f"the whole job: {text}")
        return fraction

    def _write(self) -> None:
        ids: dict[str, UUID] = {}
        written: dict[str, tuple[float, str]] = {}
        is_last = False
        while not is_last:
            self._write_now.wait(WRITE_EVERY)
            self._write_now.clear()
            is_last = self._is_last
            with self._lock:
                changed = self._bars.items() - written.items()
            for key, (percent, text) in changed:
                with suppress(Exception):  # progress is advice; the next round tries again
                    ids = ids or _of_an_earlier_attempt()
                    if key in ids:
                        update_progress_artifact(ids[key], progress=percent, description=text)
                    else:
                        created = create_progress_artifact(percent, key=key, description=text)
                        ids[key] = created  # type: ignore[assignment]  # no event loop here: it is sync
                    written[key] = (percent, text)


def _of_an_earlier_attempt() -> dict[str, UUID]:
    """The progress artifacts that this run has, by key."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.run_count <= 1:
        return {}
    mine = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[context.flow_run.id]), key=ArtifactFilterKey(like_="%-progress")
    )
    with get_client(sync_client=True) as client:
        return {one.key: one.id for one in client.read_artifacts(artifact_filter=mine) if one.key}


@task(name="progress", task_run_name="progress · {stage}", cache_policy=NO_CACHE, persist_result=False)
def watch(stage: str, sender: Sender, job: JobProgress, stop: threading.Event) -> None:
    """The polling subtask of one stage: bar, artifacts, log lines and, where asked for, live previews."""
    logger = get_run_logger()
    logged = -1

    def listener(exchange: Exchange, bar: float, eta: float | None, reading: Reading) -> None:
        nonlocal logged
        request = exchange.request
        text = line(request, bar, eta, reading)
        tenth = int(10 * job.moved(request, bar, text))
        if request.stage == stage and tenth > logged:
            logged = tenth
            logger.info(text)
        if reading.preview:
            create_markdown_artifact(f"{text}\n\n![live preview]({reading.preview})", key=f"{stage}-preview")

    poll(sender, stop, listener, interval=settings().poll_interval, preview_every=settings().preview_every)


def line(request: Request, bar: float, eta: float | None, reading: Reading) -> str:
    """A reading as a person reads it: ``txt2img 2/4: step 12/20, 60 %, 8 s left``."""
    if request.stage == SWITCH and request.checkpoint is not None:
        return f"loading {request.checkpoint.file}"
    parts = [f"step {reading.step}/{reading.steps}"] if reading.step is not None else []
    parts.append(f"{round(100 * bar)} %")
    if eta is not None:
        parts.append(f"{round(eta)} s left")
    return f"{request.stage} {request.first}/{request.of}: {', '.join(parts)}"
