"""Progress is advice: it never blocks or fails a generation, only goes forward, and stops at once."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from gpu.exchange import Exchange
from gpu.job import Job
from gpu.poller import poll
from gpu.progress import ALMOST, Bar, Reading
from gpu.request import Request
from gpu.sender import Sender
from store.picture import Picture
from tests.requesting import PATIENCE, Stranger, arm, request_for
from tests.waiting import until
from webui.client import Timeouts, WebUIClient
from webui.embedded.server import EmbeddedWebUI
from webui.errors import Interrupted
from webui.models import State

STOPS_WITHIN = 1.0  # seconds, set by the issue
RECORDINGS = Path(__file__).parents[1] / "contract" / "recordings"

Heard = list[tuple[float, float | None, Reading]]


@contextmanager
def polling(sender: Sender, listener: Any = None, interval: float = 0.02, **more: float) -> Iterator[Heard]:
    """A poller beside a sender; what it told is in the list."""
    heard: Heard = []

    def hear(exchange: Exchange, bar: float, eta: float | None, reading: Reading) -> None:
        heard.append((bar, eta, reading))

    stop = threading.Event()
    given = {"interval": interval, **more}
    thread = threading.Thread(target=poll, args=(sender, stop, listener or hear), kwargs=given)
    thread.start()
    try:
        yield heard
    finally:
        stop.set()
        started = time.monotonic()
        thread.join(PATIENCE)
        assert time.monotonic() - started < STOPS_WITHIN


@pytest.fixture
def sender(client: WebUIClient) -> Iterator[Sender]:
    with Sender(client, run="r" * 8) as sender:
        yield sender


def sent(sender: Sender, request: Request) -> Any:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(sender.answer, request)
    pool.shutdown(wait=False)
    return future


# -- the poller ----------------------------------------------------------------------------------------------


def test_poll_progress_loop_calls_callback(server: EmbeddedWebUI, sender: Sender) -> None:
    server.steps.hold()
    with polling(sender) as heard:
        ours = sent(sender, request_for(server, steps=10))
        for step in range(1, 10):
            server.steps.advance()
            assert server.steps.wait_for(step, PATIENCE)
            until("the step was told", lambda step=step: any((r.step or 0) >= step - 1 for *_, r in heard))
        server.steps.release()
        assert ours.result(PATIENCE).generation.images
    bars = [bar for bar, *_ in heard]
    assert len(set(bars)) > 3, "several updates during the generation"
    assert bars == sorted(bars)
    assert 0.5 < bars[-1] <= ALMOST
    steps = [reading.step for *_, reading in heard if reading.step]
    assert steps == sorted(steps)
    assert {reading.steps for *_, reading in heard if reading.step} == {10}


def test_a_40_step_run_gives_an_update_about_every_half_second(server: EmbeddedWebUI, sender: Sender) -> None:
    server.steps.step_time = 0.1
    times: list[float] = []
    with polling(sender, lambda *_: times.append(time.monotonic()), interval=0.5):
        started = time.monotonic()
        sent(sender, request_for(server, steps=40)).result(PATIENCE)
        took = time.monotonic() - started
    gaps = [after - before for before, after in pairwise(times)]
    assert len(times) >= took / 0.5 * 0.6
    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(0.5, abs=0.25)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "status": 500, "body": {"error": "x"}},
        {"kind": "error", "status": 404, "body": {"detail": "Not Found"}},
        {"kind": "drop"},
        {"kind": "hang"},
    ],
    ids=lambda fault: f"{fault['kind']}{fault.get('status', '')}",
)
def test_progress_polling_concurrent_with_generation(
    server: EmbeddedWebUI, sender: Sender, client: WebUIClient, fault: dict[str, Any]
) -> None:
    """With every progress call failing or hanging, the generation takes no notice; nothing is told."""
    client.timeouts = Timeouts(progress=1)
    number = arm(server, **fault, path="*/progress", times=None)
    server.steps.hold()
    with polling(sender) as heard:
        ours = sent(sender, request_for(server))
        until("a look was tried", lambda: server.requests.of("POST", "/internal/progress"))
        server.steps.release()
        assert ours.result(PATIENCE).generation.images
        assert heard == []
    server.faults.disarm(number)


def test_a_failed_look_skips_one_poll_only(server: EmbeddedWebUI, sender: Sender, client: WebUIClient) -> None:
    client.timeouts = Timeouts(progress=0.3)
    arm(server, kind="hang", path="/internal/progress")
    server.steps.hold()
    server.steps.advance(3)
    with polling(sender) as heard:
        ours = sent(sender, request_for(server, steps=10))
        until("the next poll went well", lambda: heard)
        server.steps.release()
        ours.result(PATIENCE)


def test_poll_progress_loop_stops_on_event_while_a_poll_hangs(server: EmbeddedWebUI, sender: Sender) -> None:
    """The look has five seconds; the stage's end is not held up by it (asserted in ``polling``)."""
    assert sender.client.timeouts.progress == 5
    arm(server, kind="hang", path="/internal/progress", times=None)
    server.steps.hold()
    with polling(sender):
        ours = sent(sender, request_for(server))
        assert server.requests.wait_for("POST", "/internal/progress", 1, PATIENCE)
        server.steps.release()
        assert ours.result(PATIENCE).generation.images
    assert server.faults
    server.faults.disarm()


@pytest.mark.parametrize("every", [0.0, 0.1])
def test_a_live_preview_comes_only_when_asked_for(server: EmbeddedWebUI, sender: Sender, every: float) -> None:
    server.steps.hold()
    server.steps.advance(15)  # a WebUI makes its first preview at step 10 or so
    with polling(sender, preview_every=every) as heard:
        ours = sent(sender, request_for(server, steps=20))
        assert server.steps.wait_for(15, PATIENCE)
        looks = len(heard)
        if every:
            until("a preview comes", lambda: any(reading.preview for _, _, reading in list(heard)))
        else:
            until("a few more looks", lambda: len(heard) > looks + 5)
        server.steps.release()
        ours.result(PATIENCE)
    previews = [reading.preview for _, _, reading in heard if reading.preview]
    assert bool(previews) == bool(every)
    assert all(preview.startswith("data:image/") for preview in previews)
    assert len(previews) == len(set(previews)), "an unchanged preview is not sent again"


def test_each_picture_has_its_own_live_previews(server: EmbeddedWebUI, sender: Sender) -> None:
    """A WebUI counts its previews anew for each job, so the second picture's have the numbers of the first's."""
    with polling(sender, preview_every=0.05) as heard:
        for number in (1, 2):
            server.steps.hold()
            server.steps.advance(15)
            ours = sent(sender, request_for(server, number, steps=20))
            until("its preview comes", lambda number=number: len({r.preview for *_, r in heard if r.preview}) >= number)
            server.steps.release()
            ours.result(PATIENCE)


def test_a_picture_of_the_job_before_is_no_preview(server: EmbeddedWebUI, sender: Sender) -> None:
    """A WebUI keeps the last job's picture until it begins the next one, whose id is the active one by then."""
    server.steps.hold()
    ours = sent(sender, request_for(server, steps=20))
    assert server.steps.wait_for(0, PATIENCE)
    job = until("it is at the WebUI", lambda: sender.sending).job
    server.state.assign_current_image(Image.new("RGB", (64, 64), "red"))
    reading = until("it is looked at", lambda: job.progress(-1))
    assert reading.preview is None
    server.steps.release()
    ours.result(PATIENCE)


def test_poll_progress_loop_ignores_regression(server: EmbeddedWebUI, sender: Sender) -> None:
    server.steps.hold()
    with polling(sender) as heard:
        ours = sent(sender, request_for(server, steps=10))
        assert server.steps.wait_for(0, PATIENCE)
        for told in (6, 3, 9):
            server.state.sampling_step = told
            until("it is told", lambda told=told: heard and heard[-1][-1].step == told)
        server.steps.release()
        ours.result(PATIENCE)
    raw = [reading.done for *_, reading in heard]
    assert raw != sorted(raw), "the WebUI went back"
    assert [bar for bar, *_ in heard] == sorted(bar for bar, *_ in heard)


def test_a_listener_that_fails_does_not_stop_the_polling(server: EmbeddedWebUI, sender: Sender) -> None:
    calls: list[int] = []

    def broken(*_: Any) -> None:
        calls.append(1)
        raise RuntimeError("Prefect is gone")

    server.steps.hold()
    with polling(sender, broken):
        ours = sent(sender, request_for(server))
        until("it was called again", lambda: len(calls) > 1)
        server.steps.release()
        assert ours.result(PATIENCE).generation.images


def test_the_step_is_told_only_while_our_id_is_the_active_one(server: EmbeddedWebUI, client: WebUIClient) -> None:
    server.steps.hold()
    server.steps.advance(2)
    stranger = Stranger(server, steps=5)
    assert server.steps.wait_for(2, PATIENCE)
    assert Job(client, "task(ours)").progress() is None, "the running job is somebody else's"
    theirs = Job(client, stranger.task).progress()
    assert theirs is not None
    assert (theirs.step, theirs.steps) == (server.state.sampling_step, 5)
    server.steps.release()
    assert stranger.done()


def test_without_internal_routes_the_bar_moves_by_the_shared_progress(tmp_path: Path, home: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path / "webui", nowebui=True) as bare:
        bare.steps.hold()
        bare.steps.advance(5)
        with Sender(WebUIClient(bare.url), run="r" * 8) as sender, polling(sender) as heard:
            ours = sent(sender, request_for(bare, steps=10))
            until("the bar moved", lambda: heard and heard[-1][0] > 0.3)
            bare.steps.release()
            ours.result(PATIENCE)
        assert {reading.step for *_, reading in heard} == {None}, "nobody can tell whose step it is"


def test_an_interrupt_by_a_stranger_is_seen(server: EmbeddedWebUI, sender: Sender) -> None:
    server.steps.hold()
    ours = sent(sender, request_for(server))
    assert server.steps.wait_for(0, PATIENCE)
    job = until("it is at the WebUI", lambda: sender.sending).job
    job.progress()
    assert not job.interrupted
    requests.post(f"{server.url}/sdapi/v1/interrupt", timeout=PATIENCE)
    server.steps.release()
    with pytest.raises(Interrupted):
        ours.result(PATIENCE)


# -- bars from recordings ------------------------------------------------------------------------------------

TIMELINES = sorted(
    path for folder in ("progress", "interrupt", "checkpoint-switch") for path in (RECORDINGS / folder).glob("*.json")
    if '["sdapi",' in path.read_text()
)  # fmt: skip


@pytest.mark.parametrize("path", TIMELINES, ids=lambda path: path.stem)
def test_no_recorded_run_moves_the_bar_back_or_fills_it_early(path: Path) -> None:
    recording = json.loads(path.read_text())
    for passes in ((1.0,), (1.0, 1.0), (0.0, 1.0)):
        now = [0.0]
        bar = Bar(passes, clock=lambda now=now: now[0])
        shown = []
        for entry in recording["timeline"]:
            if entry[0] != "sdapi":
                continue
            now[0] += 0.1
            state = State.model_validate(entry[1]["state"])
            if entry[1]["progress"] < 1:  # for a moment at the end of a pass it is counted as the next one's step
                assert state.jobs_done / max(1, state.job_count) == pytest.approx(entry[1]["progress"], abs=0.011)
            bar.read(Reading(state.jobs_done, max(1, state.job_count)))
            shown.append(bar.shown)
            assert bar.seconds_left is None or 0 <= bar.seconds_left < 24 * 3600
        assert shown
        assert shown == sorted(shown)
        assert shown[-1] <= ALMOST


def test_adetailers_growth_at_the_embedded_webui(server: EmbeddedWebUI, sender: Sender) -> None:
    """Each found face is a further job: the WebUI's own bar falls, ours does not and is not full before the end."""
    from skimage.data import astronaut  # a photograph with one face, part of scikit-image

    folder = server.folder / "face.png"
    Image.fromarray(astronaut()[:256, 96:352]).save(folder)
    request = request_for(server, width=256, height=256, steps=4)
    script = {"ADetailer": {"args": [True, True, {"ad_model": "mediapipe_face_full"}]}}
    digest = hashlib.sha256(folder.read_bytes()).hexdigest()
    init = Picture(path=str(folder), sha256=digest, seed=1, index=1, stage="init", width=256, height=256)
    payload = {**request.payload, "denoising_strength": 0.1, "alwayson_scripts": script}
    asked = request.model_copy(update={"endpoint": "img2img", "payload": payload, "init": init})
    server.steps.step_time = 0.15
    with polling(sender) as heard:
        sent(sender, asked).result(PATIENCE)
    bars = [bar for bar, *_ in heard]
    assert max(reading.jobs for *_, reading in heard) >= 2, "a face was found"
    raw = [reading.done / reading.jobs for *_, reading in heard]
    assert raw != sorted(raw), "the WebUI's own bar fell"
    assert bars == sorted(bars)
    found = next(number for number, (*_, reading) in enumerate(heard) if reading.jobs >= 2)
    assert set(bars[:found]) <= {0.0}, "nothing is painted before a face is found"
    assert bars[-1] <= ALMOST
