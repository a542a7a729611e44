"""One request after the other, one ahead; strangers are waited for and never interrupted."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from gpu import sender as senders
from gpu import turn as turns
from gpu.job import Job
from gpu.lease import Lease
from gpu.request import Request
from gpu.sender import Sender
from gpu.turn import Turn
from tests.requesting import PATIENCE, Stranger, arm, painted, request_for
from tests.waiting import until
from webui.client import Timeouts, WebUIClient
from webui.embedded.server import EmbeddedWebUI
from webui.errors import AnswerLost, CallFailed, Interrupted, NotFound
from webui.http import Received
from webui.models import Generation

CANCEL_WITHIN = 2.0  # seconds, set by the issue


class Cancelled(BaseException):
    """As Prefect's TerminationSignal: no Exception, raised in the main thread."""


@pytest.fixture
def sender(client: WebUIClient) -> Iterator[Sender]:
    with Sender(client, run="0123456789abcdef") as sender:
        yield sender


def asynchronously(sender: Sender, request: Request) -> Any:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(sender.answer, request)
    pool.shutdown(wait=False)
    return future


def interrupts(server: EmbeddedWebUI) -> int:
    return len(server.requests.of("POST", "/sdapi/v1/interrupt"))


def test_what_was_prepared_and_never_sent_leaves_no_note(
    server: EmbeddedWebUI, client: WebUIClient, home: Path
) -> None:
    with Sender(client, run="0123456789abcdef") as sender:
        sender.prepare(request_for(server, 1))
    assert not list((home / "inflight").glob("*"))
    assert painted(server) == []


# -- order and look-ahead ------------------------------------------------------------------------------------


def test_requests_go_in_their_order_each_once(server: EmbeddedWebUI, sender: Sender) -> None:
    plan = [request_for(server, number) for number in (1, 2, 3, 4)]
    sender.plan(plan)
    seeds = [sender.answer(request).generation.info.all_seeds for request in plan]
    assert seeds == [[1], [2], [3], [4]]
    assert painted(server) == [1, 2, 3, 4]
    ids = [task for _, _, task, _ in server.requests.of("POST", "/sdapi/v1/txt2img")]
    assert len(set(ids)) == 4
    assert all(str(task).startswith("task(darkroom-01234567-txt2img-") for task in ids)


def test_the_next_one_is_sent_ahead_and_only_that_one(server: EmbeddedWebUI, sender: Sender) -> None:
    plan = [request_for(server, number) for number in (1, 2, 3)]
    sender.plan(plan)
    sender.answer(plan[0])
    until("the second is painted without being asked for", lambda: painted(server) == [1, 2])
    assert server.wait_until_idle(PATIENCE)
    until("its answer is back", lambda: sender.sending is None)
    assert painted(server) == [1, 2], "the third waits until the second was asked for"
    sender.answer(plan[1])
    until("the third follows", lambda: painted(server) == [1, 2, 3])


def test_nothing_is_sent_ahead_of_a_failure(server: EmbeddedWebUI, sender: Sender) -> None:
    plan = [request_for(server, number) for number in (1, 2)]
    sender.plan(plan)
    arm(server, kind="error", like="nan")
    with pytest.raises(CallFailed):
        sender.answer(plan[0])
    assert sender.sending is None
    assert sender.answer(plan[0]).generation.images, "the same request again, as a retry does"
    until("now the second follows", lambda: painted(server) == [1, 1, 2])


def test_a_second_try_has_an_id_of_its_own(server: EmbeddedWebUI, sender: Sender) -> None:
    request = request_for(server)
    arm(server, kind="drop", when="after")
    with pytest.raises(AnswerLost):
        sender.answer(request)
    sender.answer(request)
    first, second = (task for _, _, task, _ in server.requests.of("POST", "/sdapi/v1/txt2img"))
    assert first != second


def test_what_may_not_be_sent_is_not_and_what_is_there_is_finished(server: EmbeddedWebUI, client: WebUIClient) -> None:
    plan = [request_for(server, number) for number in (1, 2, 3)]
    asked = threading.Event()

    def may_send() -> None:
        if asked.is_set():
            raise TimeoutError("it was asked to stop")

    with Sender(client, run="r" * 8, may_send=may_send) as sender:
        sender.plan(plan)
        server.steps.hold()
        answer = asynchronously(sender, plan[0])
        until("the first is there", lambda: painted(server) == [1])
        sender.check_may_send(plan[1])
        asked.set()
        sender.check_may_send(plan[0])  # it is sent: to be asked for
        server.steps.release()
        assert answer.result(PATIENCE).generation.info.all_seeds == [1]
        until("the second, chained behind it, is refused", lambda: not sender.is_sent(plan[1]))
        with pytest.raises(TimeoutError, match="asked to stop"):
            sender.check_may_send(plan[1])
        with pytest.raises(TimeoutError, match="asked to stop"):
            sender.answer(plan[1])
    assert painted(server) == [1]


def test_a_run_that_waits_for_a_stranger_can_be_stopped(server: EmbeddedWebUI, client: WebUIClient) -> None:
    asked = threading.Event()

    def may_send() -> None:
        if asked.is_set():
            raise TimeoutError("it was asked to stop")

    server.steps.hold()
    stranger = Stranger(server)
    until("the stranger paints", lambda: client.job_state().state.running)
    waits: list[str | None] = []
    with Sender(client, run="r" * 8, on_wait=waits.append, may_send=may_send) as sender:
        answer = asynchronously(sender, request_for(server))
        until("it waits", lambda: waits)
        asked.set()
        with pytest.raises(TimeoutError, match="asked to stop"):
            answer.result(PATIENCE)
    assert stranger.going
    server.steps.release()
    assert stranger.done()


def test_a_following_request_that_cannot_be_prepared_costs_only_itself(server: EmbeddedWebUI, sender: Sender) -> None:
    good = request_for(server, 1)
    missing = request_for(server, 2).model_copy(update={"mask": "store:nothere.png"})
    sender.plan([good, missing])
    assert sender.answer(good).generation.images
    with pytest.raises(ValueError, match="not in the store"):
        sender.answer(missing)


def test_a_picture_is_decoded_only_when_the_next_request_is_on_the_wire(
    server: EmbeddedWebUI, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(senders, "NEXT_IS_SENT_WITHIN", PATIENCE)
    plan = [request_for(server, number) for number in (1, 2)]
    sender.plan(plan)
    on_the_wire = []
    decode = Received.generation

    def generation(received: Received) -> Generation:
        on_the_wire.append(sender.sending.request if sender.sending else None)
        return decode(received)

    monkeypatch.setattr(Received, "generation", generation)
    server.steps.hold()
    server.steps.advance(2)
    assert sender.answer(plan[0]).generation.images
    assert on_the_wire == [plan[1]]
    server.steps.release()
    assert sender.answer(plan[1]).generation.images


def test_what_the_run_before_us_saw_free_is_not_looked_at_again(
    server: EmbeddedWebUI, client: WebUIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "IDLE_FOR", PATIENCE)
    for name in ("first", "second"):
        looks = len(server.requests.of("GET", "/sdapi/v1/progress"))
        request = request_for(server)
        with Sender(client, run=name, lease=Lease(server.url, run=name, name=name)) as sender:
            sender.plan([request], final=True)
            sender.answer(request)
        looks = len(server.requests.of("GET", "/sdapi/v1/progress")) - looks
    assert looks == 1, "after its picture, and not before"


# -- strangers -----------------------------------------------------------------------------------------------


def test_a_stranger_is_waited_for_and_never_interrupted(server: EmbeddedWebUI, client: WebUIClient) -> None:
    server.steps.hold()
    stranger = Stranger(server)
    assert server.steps.wait_for(0, PATIENCE)
    said: list[str | None] = []
    with Sender(client, run="r" * 8, on_wait=said.append) as sender:
        ours = asynchronously(sender, request_for(server))
        until("the wait is said", lambda: said)
        assert "busy with somebody's job" in str(said[0])
        assert not server.requests.of("POST", "/sdapi/v1/txt2img")[1:], "nothing is sent while they paint"
        server.steps.release()
        assert ours.result(PATIENCE).generation.images
    assert stranger.done()
    assert stranger.answer["images"]
    assert said[-1] is None
    assert len(said) == 2
    assert interrupts(server) == 0


def test_a_strangers_second_batch_is_waited_for_too(server: EmbeddedWebUI, sender: Sender) -> None:
    """A job's name changes between its batches; it is the same job."""
    server.steps.hold()
    stranger = Stranger(server, steps=2, n_iter=2)
    server.steps.advance(2)
    until("the second batch", lambda: server.state.job.startswith("Batch 2"))
    server.steps.advance(0)
    ours = asynchronously(sender, request_for(server))
    threading.Event().wait(3 * turns.STRANGER_POLL)
    assert len(server.requests.of("POST", "/sdapi/v1/txt2img")) == 1
    server.steps.release()
    assert ours.result(PATIENCE).generation.images
    assert stranger.done()


def test_those_who_wait_before_us_are_waited_for_those_who_come_later_are_not(
    server: EmbeddedWebUI, sender: Sender
) -> None:
    """A steady stream of strangers must not starve us."""
    server.steps.hold()
    first = Stranger(server, seed=70)
    assert server.steps.wait_for(0, PATIENCE)
    second = Stranger(server, seed=71)
    assert server.job_queue.wait_for_waiting(1, PATIENCE)
    ours = asynchronously(sender, request_for(server, 1))
    until("we saw them", lambda: server.requests.of("GET", "/internal/pending-tasks"))
    later = [Stranger(server, seed=seed) for seed in (72, 73, 74)]
    assert server.job_queue.wait_for_waiting(4, PATIENCE)
    server.steps.step_time = 0.35  # the stream goes on for longer than a timestamp's second
    server.steps.release()
    until("ours is sent", lambda: sender.sending)
    assert not later[-1].answer, "sent while the stream still ran"
    assert second.done(), "but not before those who had been there"
    server.steps.step_time = 0.0
    assert ours.result(PATIENCE).generation.images
    assert all(one.done() for one in (first, second, *later))
    assert all(one.answer["images"] for one in (first, second, *later))
    assert interrupts(server) == 0


def test_an_id_that_is_stuck_in_the_webuis_queue_holds_nobody_up(server: EmbeddedWebUI, sender: Sender) -> None:
    """A bad init image leaves its id pending until the server restarts."""
    bad = {"init_images": ["bm8gcGljdHVyZQ=="], "force_task_id": "task(stuck)"}
    requests.post(f"{server.url}/sdapi/v1/img2img", json=bad, timeout=PATIENCE)
    assert "task(stuck)" in sender.client.pending_tasks()
    try:
        assert sender.answer(request_for(server)).generation.images
    finally:
        server.tasks.start_task("task(stuck)")
        server.tasks.finish_task("task(stuck)")


@pytest.mark.parametrize("how", [{"kind": "error", "status": 404, "body": {"detail": "Not Found"}}, {"kind": "hang"}])
def test_without_any_state_a_generation_goes_on(server: EmbeddedWebUI, client: WebUIClient, how: dict) -> None:
    client.timeouts = Timeouts(progress=0.2)
    arm(server, **how, path="*/progress", times=None)
    with Sender(client, run="r" * 8) as sender:
        assert sender.answer(request_for(server)).generation.images


# -- cancelling ----------------------------------------------------------------------------------------------


def cancel_while(server: EmbeddedWebUI, client: WebUIClient, request: Request, ready: Any) -> float:
    """Raise in the thread that waits for the answer when ``ready`` is; returns the seconds from there to the end of
    the sender's block."""

    def handler(*_: Any) -> None:
        raise Cancelled

    before = signal.signal(signal.SIGUSR1, handler)
    at: list[float] = []

    def cancel() -> None:
        ready()
        at.append(time.monotonic())
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    canceller = threading.Thread(target=cancel)
    try:
        with pytest.raises(Cancelled), Sender(client, run="r" * 8) as sender:
            canceller.start()
            sender.answer(request)
        return time.monotonic() - at[0]
    finally:
        canceller.join(PATIENCE)
        signal.signal(signal.SIGUSR1, before)


def test_a_cancel_interrupts_our_own_job_within_two_seconds(server: EmbeddedWebUI, client: WebUIClient) -> None:
    server.steps.hold()
    server.steps.advance(2)
    begun = server.job_queue.begun
    took = cancel_while(server, client, request_for(server, steps=100), lambda: server.steps.wait_for(2, PATIENCE))
    assert server.job_queue.begun == begun + 1
    assert server.wait_until_idle(PATIENCE), "the GPU is idle though the sampler was held"
    assert interrupts(server) >= 1
    assert took < CANCEL_WITHIN


def test_a_cancel_sends_nothing_more(server: EmbeddedWebUI, client: WebUIClient) -> None:
    plan = [request_for(server, number, steps=100) for number in (1, 2)]
    server.steps.hold()
    cancel_while(server, client, plan[0], lambda: server.steps.wait_for(0, PATIENCE))
    assert server.wait_until_idle(PATIENCE)
    assert painted(server) == [1]


def test_a_cancel_leaves_a_strangers_job_alone_while_ours_waits_behind_it(
    server: EmbeddedWebUI, client: WebUIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs began after we looked: ours stands in the WebUI's own queue."""
    monkeypatch.setattr(senders, "STOPS_WITHIN", 0.5)
    monkeypatch.setattr(Turn, "wait", lambda self: None)
    server.steps.hold()
    stranger = Stranger(server, steps=4)
    assert server.steps.wait_for(0, PATIENCE)
    cancel_while(server, client, request_for(server), lambda: server.job_queue.wait_for_waiting(1, PATIENCE))
    assert interrupts(server) == 0
    assert stranger.going
    assert not server.state.interrupted
    server.steps.release()
    assert stranger.done()
    assert stranger.answer["images"]


def test_a_cancel_while_a_stranger_is_waited_for_sends_nothing(server: EmbeddedWebUI, client: WebUIClient) -> None:
    server.steps.hold()
    stranger = Stranger(server)
    assert server.steps.wait_for(0, PATIENCE)
    took = cancel_while(
        server, client, request_for(server), lambda: server.requests.wait_for("GET", "/sdapi/v1/progress", 2, PATIENCE)
    )
    assert took < CANCEL_WITHIN
    server.steps.release()
    assert stranger.done()
    assert len(server.requests.of("POST", "/sdapi/v1/txt2img")) == 1
    assert interrupts(server) == 0


def test_a_failing_interrupt_is_tried_again(server: EmbeddedWebUI, client: WebUIClient) -> None:
    arm(server, kind="error", status=500, body={"error": "x"}, path="*/interrupt", times=3)
    server.steps.hold()
    cancel_while(server, client, request_for(server, steps=50), lambda: server.steps.wait_for(0, PATIENCE))
    assert server.wait_until_idle(PATIENCE)


def test_a_job_that_is_sent_ahead_is_interrupted_when_the_run_fails(server: EmbeddedWebUI, client: WebUIClient) -> None:
    plan = [request_for(server, 1), request_for(server, 2, steps=100)]
    with pytest.raises(RuntimeError, match="no space left"), Sender(client, run="r" * 8) as sender:
        sender.plan(plan)
        sender.answer(plan[0])
        server.steps.hold()
        until("the second is on the GPU", lambda: sender.sending and server.state.sampling_steps == 100)
        raise RuntimeError("no space left on the disk")
    assert server.wait_until_idle(PATIENCE)
    assert interrupts(server) >= 1


# -- interrupted by others -----------------------------------------------------------------------------------


@pytest.mark.parametrize("button", ["interrupt", "skip"])
def test_a_half_denoised_picture_is_refused(server: EmbeddedWebUI, sender: Sender, button: str) -> None:
    server.steps.hold()
    server.steps.advance(1)
    ours = asynchronously(sender, request_for(server, steps=20).model_copy(update={"job": "100 % sure"}))
    assert server.steps.wait_for(1, PATIENCE)
    requests.post(f"{server.url}/sdapi/v1/{button}", timeout=PATIENCE)
    with pytest.raises(Interrupted, match="half-denoised") as caught:
        ours.result(PATIENCE)
    assert caught.value.transient is (button == "interrupt"), "who skips a picture does not want it"
    server.steps.release()
    assert sender.answer(request_for(server, steps=20)).generation.images, "another try is whole"


def test_what_the_poller_saw_counts_when_the_flag_is_down_again(server: EmbeddedWebUI, sender: Sender) -> None:
    server.steps.hold()
    ours = asynchronously(sender, request_for(server))
    until("it is at the WebUI", lambda: sender.sending).job.interrupted = True
    server.steps.release()
    with pytest.raises(Interrupted):
        ours.result(PATIENCE)


# -- without /internal ---------------------------------------------------------------------------------------


def test_without_internal_routes(tmp_path: Path, home: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path / "webui", nowebui=True) as bare:
        client = WebUIClient(bare.url)
        request = request_for(bare)
        with Sender(client, run="r" * 8) as sender:
            assert sender.answer(request).generation.images
        with pytest.raises(NotFound):
            client.task_progress("task(ours)")
        assert Job(client, "task(ours)").stop(), "there is nothing that could be done"
        assert not bare.requests.of("POST", "/sdapi/v1/interrupt"), "nobody can tell whose job runs"
