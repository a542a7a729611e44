"""What a person sees of progress: bars as artifacts, written seldom and never in a generation's way, and log lines."""

from __future__ import annotations

import logging
import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from gpu.progress import Reading
from gpu.request import Request
from gpu.sender import Sender
from tasks import progress
from tasks.checkpoint import switch_checkpoint
from tasks.progress import JobProgress, line, watch
from tasks.status import this_run
from tests.requesting import PATIENCE, request_for
from tests.waiting import until
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI

STOPS_WITHIN = 1.0  # seconds


def request(number: int = 1, of: int = 1) -> Request:
    return Request(stage="txt2img", endpoint="txt2img", first=number, of=of, seeds=(number,), size=(64, 64), payload={})


class Written:
    """Stands for Prefect's database: remembers what is written to each artifact, and when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: list[tuple[float, str, float]] = []
        self.free = threading.Event()
        self.free.set()
        monkeypatch.setattr(progress, "create_progress_artifact", self.create)
        monkeypatch.setattr(progress, "update_progress_artifact", self.update)

    def create(self, percent: float, *, key: str, **_: Any) -> str:
        self.update(key, progress=percent)
        return key

    def update(self, key: str, *, progress: float, **_: Any) -> None:
        self.free.wait(PATIENCE)
        self.at.append((time.monotonic(), key, progress))

    def of(self, key: str) -> list[float]:
        return [percent for _, one, percent in self.at if one == key]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    return Written(monkeypatch)


def test_a_line_reads_well(server: EmbeddedWebUI) -> None:
    second = request_for(server, 2)
    assert line(second, 0.6, 8.2, Reading(0.6, 1, 12, 20)) == "txt2img 2/4: step 12/20, 60 %, 8 s left"
    assert line(second, 0.6, None, Reading(0.6)) == "txt2img 2/4: 60 %"


def test_stage_boundaries_move_the_bar_when_nothing_can_be_polled(written: Written) -> None:
    job = JobProgress({"txt2img": 30, "upscale": 10})
    totals = []
    for stage in ("txt2img", "upscale"):
        job.begin(stage, 2)
        totals.append(job.total)
        job.end()
        totals.append(job.total)
    assert totals == [0, 75, 75, 100]
    job.flush()
    assert written.of("job-progress")[-1] == written.of("txt2img-progress")[-1] == 100


def test_the_job_never_goes_back_and_is_full_only_at_the_end(written: Written) -> None:
    job, seen = JobProgress({"txt2img": 1}), []
    job.begin("txt2img", 2)
    for bar in (0.2, 0.1, 0.5, 0.99):
        job.moved(request(of=2), bar, "")
        seen.append(job.total)
    job.done(request(of=2))
    seen.append(job.total)
    job.moved(request(2, of=2), 0.1, "")
    job.done(request(2, of=2))
    seen.append(job.total)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(99)
    job.end()
    assert job.total == 100
    job.flush()


def test_a_checkpoint_that_is_loaded_moves_no_bar(written: Written) -> None:
    job = JobProgress({"txt2img": 1})
    job.begin("txt2img", 1)
    assert job.moved(request().model_copy(update={"stage": "checkpoint"}), 0.9, "loading oil.safetensors") == 0
    job.flush()


def test_artifacts_are_written_at_most_once_a_second(written: Written) -> None:
    job, started = JobProgress({"txt2img": 1}), time.monotonic()
    job.begin("txt2img", 1)
    pause = threading.Event()
    while (now := time.monotonic() - started) < 2.5:
        job.moved(request(), now / 5, "x")
        pause.wait(0.01)
    job.end()
    job.flush()
    times = [at for at, key, _ in written.at if key == "job-progress"]
    assert 3 <= len(times) <= 4, "at once, each second, and the end"
    assert min(after - before for before, after in pairwise(times[:-1])) >= 0.95
    assert written.of("txt2img-progress")[-1] == 100


def test_when_the_end_is_written_nobody_waits_for_a_second_to_pass(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's end waits for it, and with it the GPU."""
    before = set(threading.enumerate())
    monkeypatch.setattr(progress, "WRITE_EVERY", 10.0 * PATIENCE)
    job = JobProgress({"txt2img": 1})
    job.begin("txt2img", 1)
    job.end()
    until("the end is written", lambda: written.of("job-progress")[-1:] == [100])
    job.flush()
    assert set(threading.enumerate()) <= before, "its thread has ended"


def test_a_prefect_that_hangs_blocks_nothing(written: Written) -> None:
    written.free.clear()
    job, started = JobProgress({"txt2img": 1}), time.monotonic()
    job.begin("txt2img", 1)
    for bar in (0.1, 0.5, 0.9):
        job.moved(request(), bar, "")
    job.done(request())
    assert time.monotonic() - started < 0.5
    written.free.set()
    job.end()
    until("the end is written", lambda: written.of("txt2img-progress")[-1:] == written.of("job-progress")[-1:] == [100])


def artifacts(run: Any) -> list[tuple[str | None, Any]]:
    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:
        return sorted((one.key, one.data) for one in client.read_artifacts(artifact_filter=mine) if one.key)


def test_a_stage_in_a_real_run(server: EmbeddedWebUI, prefect_server: None, caplog: pytest.LogCaptureFixture) -> None:
    """Artifacts of the run, and a line for each tenth of the stage, not for each look."""
    server.steps.step_time = 0.1

    @flow
    def painting() -> Any:
        with Sender(WebUIClient(server.url), run="r" * 8) as sender:
            job, stop = JobProgress({"txt2img": 1}), threading.Event()
            job.begin("txt2img", 1)
            poller = watch.submit("txt2img", sender, job, stop)
            switched = request_for(server)
            keys = ("override_settings", "override_settings_restore_afterwards")
            assert switched.checkpoint is not None
            switch_checkpoint(switched.checkpoint, {key: switched.payload[key] for key in keys}, sender)
            one = request_for(server, steps=40)
            sender.answer(one)
            job.done(one)
            job.end()
            stop.set()
            poller.wait(STOPS_WITHIN)
            assert poller.state.is_completed()
        return this_run().id

    server.options.data["sd_checkpoint_hash"] = ""  # so that the switch is sent
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        run = painting()
    said = [record.getMessage() for record in caplog.records if " %" in record.getMessage()]
    assert not [text for text in said if "checkpoint" in text], "a load is no progress of the stage"
    assert 2 <= len(said) <= 11, said
    full = [("job-progress", 100), ("txt2img-progress", 100)]
    until("both artifacts are full", lambda: artifacts(run) == full)


def test_a_retry_goes_on_with_the_artifacts_of_the_attempt_before(prefect_server: None) -> None:
    """A finished run would show where its first attempt failed."""
    attempts: list[Any] = []

    @flow(retries=1)
    def painting() -> None:
        attempts.append(this_run().id)
        job = JobProgress({"txt2img": 1})
        job.begin("txt2img", 1)
        try:
            job.moved(request(), 0.9, "step 18/20")
            if len(attempts) == 1:
                raise RuntimeError("out of memory")
            job.end()
        finally:
            job.flush()

    painting()
    assert len(attempts) == 2
    assert artifacts(attempts[0]) == [("job-progress", 100), ("txt2img-progress", 100)]
