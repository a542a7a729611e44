"""What the WebUI had loaded is seen for each picture: its info may name another model than the one that painted."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
import requests

from gpu.exchange import Answer
from gpu.poller import poll
from gpu.sender import Sender
from tests.gpu.test_sender import asynchronously
from tests.requesting import PATIENCE, arm, checkpoint_of, painted, request_for
from tests.waiting import until
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI
from webui.errors import WrongCheckpoint, is_transient


def hash_of(server: EmbeddedWebUI, name: str) -> str | None:
    return checkpoint_of(server, name).sha256


def test_the_loaded_checkpoint_is_seen_after_the_answer_and_while_it_samples(
    server: EmbeddedWebUI, client: WebUIClient
) -> None:
    stop = threading.Event()
    with Sender(client, run="r" * 8) as sender:
        answer = sender.answer(request_for(server))
        assert answer.loaded == (hash_of(server, "photo"),)
        poller = threading.Thread(target=poll, args=(sender, stop, lambda *_: None), kwargs={"interval": 0.02})
        poller.start()
        server.steps.hold()
        server.steps.advance(2)
        ours = asynchronously(sender, request_for(server, 2, steps=4))
        job = until("it is there", lambda: sender.sending).job
        until("the poller saw it", lambda: job.loaded)
        server.steps.release()
        assert ours.result(PATIENCE).loaded == (hash_of(server, "photo"),) * 2
        stop.set()
        poller.join(PATIENCE)


def test_a_model_that_was_switched_while_ours_was_loading_is_seen(tmp_path: Path, home: Path) -> None:
    """Seen on a real Forge: the picture names ours, and the other one painted it."""
    with EmbeddedWebUI(folder=tmp_path / "webui", faults=True) as server:
        client = WebUIClient(server.url)
        arm(server, kind="load hang", asked="photo*")
        with Sender(client, run="r" * 8) as sender:
            ours = asynchronously(sender, request_for(server))
            assert server.faults
            faults = server.faults
            until("it is loading", lambda: faults.report()[0]["fired"])
            requests.post(f"{server.url}/sdapi/v1/options", json={"sd_model_checkpoint": "ink"}, timeout=PATIENCE)
            faults.disarm()
            answer = ours.result(PATIENCE)
        assert answer.generation.info.sd_model_name == "photo"
        assert answer.loaded == (hash_of(server, "ink"),)


def test_it_is_seen_before_the_next_request_has_another_one_loaded(server: EmbeddedWebUI, client: WebUIClient) -> None:
    plan = [request_for(server, 1)]
    oil = checkpoint_of(server, "oil")
    settings = {**plan[0].payload["override_settings"], "sd_model_checkpoint": oil.file}
    payload = {**plan[0].payload, "override_settings": settings, "seed": 2}
    plan.append(plan[0].model_copy(update={"payload": payload, "seeds": (2,), "first": 2, "checkpoint": oil}))
    arm(server, kind="slow", seconds=0.5, path="/sdapi/v1/options")
    with Sender(client, run="r" * 8) as sender:
        sender.plan(plan)
        assert sender.answer(plan[0]).loaded == (hash_of(server, "photo"),)
        assert sender.answer(plan[1]).loaded == (hash_of(server, "oil"),)


def test_the_look_does_not_hold_up_the_next_request_of_the_same_checkpoint(
    server: EmbeddedWebUI, client: WebUIClient
) -> None:
    plan = [request_for(server, number) for number in (1, 2)]
    arm(server, kind="hang", path="/sdapi/v1/options")
    loaded: Future[tuple[str, ...]] = Future()

    def look(answer: Answer) -> None:
        loaded.set_result(answer.loaded)

    with Sender(client, run="r" * 8) as sender:
        sender.plan(plan)
        answer = sender.answer(plan[0])
        looking = threading.Thread(target=look, args=(answer,))
        looking.start()
        until("the second is painted", lambda: painted(server) == [1, 2])
        assert not loaded.done()
        assert server.faults
        server.faults.disarm()
        assert loaded.result(PATIENCE) == (hash_of(server, "photo"),)
        looking.join(PATIENCE)


@pytest.mark.parametrize("status", [404, 500])
def test_where_it_cannot_be_seen_nothing_is_said(server: EmbeddedWebUI, client: WebUIClient, status: int) -> None:
    arm(server, kind="error", status=status, body={"detail": "Not Found"}, path="/sdapi/v1/options", times=None)
    with Sender(client, run="r" * 8) as sender:
        assert sender.answer(request_for(server)).loaded == ()


def test_a_picture_of_another_model_is_painted_again() -> None:
    assert is_transient(WrongCheckpoint("somebody switched the model"))
