"""Hangs, lost answers, slow looks, a checkpoint that is gone: the GPU comes free, and nobody else's job is touched."""

from __future__ import annotations

import hashlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from gpu import progress
from gpu import sender as sender_module
from gpu import turn as turns
from gpu.job import orphans
from gpu.progress import LONGEST_LOAD, LONGEST_STILL, STEPS_STILL, Pace
from gpu.request import Request
from gpu.sender import Sender
from store.picture import Picture
from tests.gpu.test_sender import CANCEL_WITHIN, asynchronously, cancel_while, interrupts
from tests.requesting import PATIENCE, Stranger, arm, request_for
from tests.waiting import until
from webui.client import Timeouts, WebUIClient
from webui.embedded.server import EmbeddedWebUI
from webui.errors import AnswerLost, CheckpointLost, Stalled, Unreachable
from webui.models import State


class Relay:
    """A network between us and a WebUI that can be cut; what is on its way is lost."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_cut:
                client.close()
                continue
            pair = (client, socket.create_connection(("127.0.0.1", self._to)))
            self._open += pair
            threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    @staticmethod
    def _pass_on(*pair: socket.socket) -> None:
        try:
            while True:
                for ready in select.select(pair, [], [])[0]:
                    content = ready.recv(65536)
                    pair[ready is pair[0]].sendall(content)
                    if not content:
                        return
        except OSError:
            pass
        finally:
            for one in pair:
                one.close()

    def cut(self, *, for_good: bool = False) -> None:
        """Break every connection; ``for_good``: and take no new one until ``is_cut`` is reset."""
        self.is_cut = for_good
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()


@pytest.fixture
def relay(server: EmbeddedWebUI) -> Iterator[Relay]:
    relay = Relay(int(server.url.rpartition(":")[2]))
    yield relay
    relay.close()


# -- an answer that is lost ----------------------------------------------------------------------------------


def test_a_job_whose_answer_is_lost_stays_ours_and_is_stopped(server: EmbeddedWebUI, relay: Relay) -> None:
    said: list[str | None] = []
    request = request_for(server, steps=50)
    with Sender(WebUIClient(relay.url), run="r" * 8, on_wait=said.append) as sender:
        server.steps.hold()
        ours = asynchronously(sender, request)
        assert server.steps.wait_for(0, PATIENCE)
        relay.cut()
        with pytest.raises(AnswerLost):
            ours.result(PATIENCE)
        assert server.wait_until_idle(PATIENCE), "nobody waits for that picture, so it is not painted to its end"
        assert interrupts(server) == 1
        server.steps.release()
        assert sender.answer(request).generation.images
    assert said == [], "our own job is nobody to wait for"


def test_a_lost_job_in_the_queue_is_not_interrupted_before_it_runs(server: EmbeddedWebUI, relay: Relay) -> None:
    server.steps.hold()
    with Sender(WebUIClient(relay.url), run="r" * 8) as sender:
        ours = asynchronously(sender, request_for(server, steps=50))
        assert server.steps.wait_for(0, PATIENCE)
        relay.cut(for_good=True)
        with pytest.raises(AnswerLost):
            ours.result(PATIENCE)
        stranger = Stranger(server)
        assert server.job_queue.wait_for_waiting(1, PATIENCE)
        relay.is_cut = False
        server.steps.advance(53)
        assert stranger.done()
        assert stranger.answer["images"]
        server.steps.release()
        assert sender.answer(request_for(server, 2)).generation.images
    assert interrupts(server) == 0, "ours had ended meanwhile"


def test_the_note_of_a_lost_job_stays_until_the_webui_has_told_of_it(
    server: EmbeddedWebUI, relay: Relay, home: Path
) -> None:
    request = request_for(server, steps=50)
    notes = home / "inflight"
    with Sender(WebUIClient(relay.url), run="r" * 8) as sender:
        server.steps.hold()
        ours = asynchronously(sender, request)
        assert server.steps.wait_for(0, PATIENCE)
        relay.cut(for_good=True)
        with pytest.raises(AnswerLost):
            ours.result(PATIENCE)
        with pytest.raises((AnswerLost, Unreachable)):
            sender.answer(request)
        assert list(notes.glob("*.json")), "it is at the WebUI still"
        assert list(orphans(WebUIClient)) == [], "and its process lives"
        relay.is_cut = False
        server.steps.release()
        assert sender.answer(request).generation.images
    until("every note is gone", lambda: not list(notes.glob("*.json")))


# -- slow, and hanging ---------------------------------------------------------------------------------------


def test_a_job_may_take_longer_than_the_time_out_while_it_moves(server: EmbeddedWebUI, client: WebUIClient) -> None:
    client.timeouts = Timeouts(generation=2)
    server.steps.step_time = 0.5
    with Sender(client, run="r" * 8) as sender:
        assert sender.answer(request_for(server, steps=10)).seconds > 2


def test_a_job_that_stands_still_is_stopped_and_may_be_tried_once_more(
    server: EmbeddedWebUI, client: WebUIClient
) -> None:
    client.timeouts = Timeouts(generation=1)
    request = request_for(server, steps=20)
    server.steps.hold()
    server.steps.advance(4)
    with Sender(client, run="r" * 8) as sender:
        for again in (True, False):
            with pytest.raises(Stalled, match="stood still at the WebUI for 1 s") as caught:
                sender.answer(request)
            assert caught.value.transient is again
            assert server.wait_until_idle(PATIENCE)
        server.steps.release()
        assert sender.answer(request).generation.images
    assert interrupts(server) == 2


def test_a_webui_that_does_not_stop_either_is_said_and_waited_for_no_longer_than_that(
    server: EmbeddedWebUI, client: WebUIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "STOPS_WITHIN", 0.3)
    arm(server, kind="error", status=500, body={"error": "x"}, path="*/interrupt", times=None)
    client.timeouts = Timeouts(generation=1)
    request = request_for(server, steps=20)
    server.steps.hold()
    started = time.monotonic()
    with Sender(client, run="r" * 8) as sender:
        with pytest.raises(Stalled, match="stood still"):
            sender.answer(request)
        with pytest.raises(Stalled, match=r"still runs after 0\.3 s: the WebUI hangs\. .* Restart it") as caught:
            sender.answer(request)
        assert not caught.value.transient
        assert time.monotonic() - started < 10
        assert server.faults
        server.faults.disarm()
        server.steps.release()
        assert server.wait_until_idle(PATIENCE)
        assert sender.answer(request_for(server, 2)).generation.images


def test_waiting_in_the_webuis_queue_is_not_standing_still(
    server: EmbeddedWebUI, client: WebUIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns.Turn, "wait", lambda self: None)  # theirs began after we looked
    client.timeouts = Timeouts(generation=0.5)
    server.steps.hold()
    stranger = Stranger(server)
    assert server.steps.wait_for(0, PATIENCE)
    with Sender(client, run="r" * 8) as sender:
        ours = asynchronously(sender, request_for(server))
        assert server.job_queue.wait_for_waiting(1, PATIENCE)
        looks = server.requests.of("POST", "/internal/progress")
        assert server.requests.wait_for("POST", "/internal/progress", len(looks) + 8, PATIENCE), "over a second"
        server.steps.release()
        assert ours.result(PATIENCE).generation.images
    assert stranger.done()
    assert interrupts(server) == 0


def test_how_long_a_job_may_stand_still_comes_from_its_stages_steps() -> None:
    now = [0.0]
    pace = Pace(clock=lambda: now[0])

    def at(seconds: float, step: int) -> None:
        now[0] = seconds
        pace.read(State(job_count=1, sampling_step=step))

    at(30, 0)
    assert pace.limit == LONGEST_LOAD, "a model may be loading"
    at(90, 1)
    assert pace.limit == LONGEST_STILL
    at(110, 2)
    assert pace.limit == 20 * STEPS_STILL
    at(140, 2)
    assert pace.still_for == 30
    now[0] = 200
    assert (pace.still_for, pace.seconds_without_news) == (30, 90), "nobody looked: not seen to stand still"
    pace.begin()
    at(300, 1)
    assert pace.limit == 20 * STEPS_STILL, "the first picture is the measure for the next"


def an_upscale(folder: Path, number: int, side: int = 64) -> Request:
    path = folder / f"{number}-{side}.png"
    Image.new("RGB", (side // 2, side // 2), (number, 90, 20)).save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    init = Picture(path=str(path), sha256=digest, seed=1, index=1, stage="init", width=side // 2, height=side // 2)
    return Request(
        stage="upscale", endpoint="extra-single-image", first=number, of=4, seeds=(1,), size=(side, side), init=init,
        payload={"upscaler_1": "Lanczos", "upscaling_resize": 2},
    )  # fmt: skip


def test_an_upscale_is_given_up_after_ten_times_what_those_of_its_size_took(
    server: EmbeddedWebUI, client: WebUIClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sender_module, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(progress, "LONGEST_STILL", 0.5)
    monkeypatch.setattr(progress, "LONGEST_LOAD", 3.0)
    with Sender(client, run="r" * 8) as sender:
        assert sender.answer(an_upscale(tmp_path, 1)).generation.images
        arm(server, kind="hang", path="*/extra-single-image", times=2)
        with pytest.raises(Stalled, match=r"stood still at the WebUI for [01] s") as caught:
            sender.answer(an_upscale(tmp_path, 2))
        assert caught.value.transient
        with pytest.raises(Stalled, match="stood still at the WebUI for 3 s"):
            sender.answer(an_upscale(tmp_path, 3, side=128))  # the first of its size
        assert sender.answer(an_upscale(tmp_path, 2)).generation.images


def test_an_upscale_that_waits_behind_a_stranger_is_not_hanging(
    server: EmbeddedWebUI, client: WebUIClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sender_module, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(progress, "LONGEST_LOAD", 0.5)
    monkeypatch.setattr(turns.Turn, "wait", lambda self: None)  # theirs began after we looked
    server.steps.hold()
    stranger = Stranger(server)
    assert server.steps.wait_for(0, PATIENCE)
    with Sender(client, run="r" * 8) as sender:
        ours = asynchronously(sender, an_upscale(tmp_path, 1))
        assert server.job_queue.wait_for_waiting(1, PATIENCE)
        assert server.requests.wait_for("GET", "/sdapi/v1/progress", 20, PATIENCE), "over a second"
        server.steps.release()
        assert ours.result(PATIENCE).generation.images
    assert stranger.done()


# -- cancelling ----------------------------------------------------------------------------------------------


def test_a_slow_look_does_not_delay_a_cancel(server: EmbeddedWebUI, client: WebUIClient) -> None:
    server.steps.hold()
    request = request_for(server, steps=50)

    def slow() -> None:
        assert server.steps.wait_for(0, PATIENCE)
        arm(server, kind="slow", seconds=8, path="*/progress", times=None)
        until("the WebUI would have queued it by now", lambda: time.monotonic() > began + 1.5)

    began = time.monotonic()
    took = cancel_while(server, client, request, slow)
    assert took < CANCEL_WITHIN
    assert server.wait_until_idle(CANCEL_WITHIN)
    assert interrupts(server) == 1


def test_a_slow_look_is_no_reason_to_interrupt_while_ours_is_in_the_queue(
    server: EmbeddedWebUI, client: WebUIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu.sender.STOPS_WITHIN", 2.0)
    monkeypatch.setattr(turns.Turn, "wait", lambda self: None)  # theirs began after we looked
    server.steps.hold()
    stranger = Stranger(server)
    assert server.steps.wait_for(0, PATIENCE)

    def slow() -> None:
        assert server.job_queue.wait_for_waiting(1, PATIENCE)
        arm(server, kind="slow", seconds=8, path="*/progress", times=None)

    cancel_while(server, client, request_for(server), slow)
    assert interrupts(server) == 0
    server.faults.disarm()
    server.steps.release()
    assert stranger.done()
    assert stranger.answer["images"]


def test_one_interrupt_is_enough_though_the_step_in_work_takes_long(server: EmbeddedWebUI, client: WebUIClient) -> None:
    """A second one would hit whoever comes next."""
    server.steps.step_time = 0.8
    begun = server.job_queue.begun
    cancel_while(
        server, client, request_for(server, steps=20), lambda: server.job_queue.wait_for_job(begun + 1, PATIENCE)
    )
    stranger = Stranger(server)
    assert stranger.done()
    assert not server.state.interrupted
    assert interrupts(server) == 1


def test_an_interrupt_that_took_long_is_said(
    server: EmbeddedWebUI, client: WebUIClient, caplog: pytest.LogCaptureFixture
) -> None:
    arm(server, kind="slow", seconds=0.8, path="*/interrupt")
    server.steps.hold()
    cancel_while(server, client, request_for(server, steps=20), lambda: server.steps.wait_for(0, PATIENCE))
    assert server.wait_until_idle(PATIENCE)
    assert interrupts(server) == 1
    assert "if it ended meanwhile, the next job was hit" in caplog.text


# -- a checkpoint that is gone -------------------------------------------------------------------------------


def test_after_a_failed_load_the_next_job_heals_the_webui(tmp_path: Path, home: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path / "webui", faults=True) as server:
        client = WebUIClient(server.url)
        client.txt2img({"prompt": "", "steps": 1, "width": 64, "height": 64})
        arm(server, kind="load failure", asked="oil*")
        with Sender(client, run="r" * 8) as sender:
            with pytest.raises(Exception, match="HeaderTooLarge"):
                client.txt2img({"steps": 1, "override_settings": {"sd_model_checkpoint": "oil"}})
            with pytest.raises(CheckpointLost) as caught:
                sender.answer(request_for(server))
            assert caught.value.transient
            assert sender.answer(request_for(server)).generation.info.sd_model_name == "photo"
        assert len(server.requests.of("POST", "/sdapi/v1/txt2img")) == 5, "the failed one, and one load of another"


def test_with_a_single_checkpoint_a_person_is_told_what_to_do(tmp_path: Path, home: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path / "webui", faults=True) as server:
        client = WebUIClient(server.url)
        request = request_for(server)
        for other in client.checkpoints():
            if other.file != request.checkpoint.file:
                arm(server, kind="load failure", asked=other.file, times=None)
        arm(server, kind="error", status=500, path="*/txt2img", contains='"steps": 2', body={
            "error": "AttributeError", "message": "'NoneType' object has no attribute 'sd_checkpoint_info'"
        })  # fmt: skip
        with Sender(client, run="r" * 8) as sender, pytest.raises(CheckpointLost, match="or restart it") as caught:
            sender.answer(request)
        assert not caught.value.transient
