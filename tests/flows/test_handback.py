"""A run by hand waits for its WebUI; when a WebUI counts as away, and when a run was asked to hand back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows import handback
from flows.generate import generate
from flows.handback import HandBack, ask_to_hand_back, check_not_asked, forget_request, unless_away
from flows.job import GenerationJob
from tasks.preflight import preflight
from tests.requesting import painted
from tests.servers import free_port
from tests.waiting import until
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI
from webui.errors import NotFound, Unavailable

RUN = "0123-4567"
UNKNOWN_ROUTE = ("GET /sdapi/v1/schedulers", 404, "Not Found")


def test_a_run_is_asked_once(home: Path) -> None:
    check_not_asked(RUN)
    ask_to_hand_back(RUN, "somebody is in a hurry")
    with pytest.raises(HandBack, match="in a hurry"):
        check_not_asked(RUN)
    forget_request(RUN)
    check_not_asked(RUN)


def test_a_run_by_hand_waits_until_its_webui_is_back(
    prefect_server: None, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handback, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(preflight, "retry_delay_seconds", [0.05])
    port = free_port()
    webui, gallery = WebUI(base_url=f"http://127.0.0.1:{port}"), Gallery(folder=str(home / "gallery"))
    stage = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "seed": 5}
    job = GenerationJob.model_validate({"name": "waits", "checkpoint": "photo", "txt2img": stage})
    with ThreadPoolExecutor() as pool:
        done = pool.submit(generate, job, webui, gallery)
        until("it says that it waits", lambda: "waiting: the WebUI is away" in caplog.text)
        assert not done.done()
        with EmbeddedWebUI(port=port, folder=tmp_path) as back:
            assert [picture.seed for picture in done.result(60)] == [5]
            assert painted(back) == [1, 5], "the checkpoint's load, and the picture"
    assert "the WebUI is back" in caplog.text


def attempt(client: WebUIClient, *outcomes: Any) -> int:
    """How often a call that gives these outcomes is tried, in a run by hand."""
    left = list(outcomes)

    def call() -> None:
        if isinstance(outcome := left.pop(0), Exception):
            raise outcome

    @flow(name="attempt")
    def run() -> None:
        unless_away(client, call)

    run()
    return len(outcomes) - len(left)


def test_a_webui_that_came_back_just_now_is_tried_once_more(client: WebUIClient, prefect_server: None) -> None:
    assert attempt(client, NotFound(*UNKNOWN_ROUTE), None) == 2


def test_a_webui_that_is_there_and_lacks_something_is_not_waited_for(client: WebUIClient, prefect_server: None) -> None:
    with pytest.raises(NotFound):
        attempt(client, NotFound(*UNKNOWN_ROUTE), NotFound(*UNKNOWN_ROUTE))
    with pytest.raises(NotFound):
        attempt(client, NotFound("POST /sdapi/v1/txt2img", 404, "Sampler not found"))
    with pytest.raises(Unavailable):
        attempt(client, Unavailable("POST /sdapi/v1/txt2img", 503), Unavailable("POST /sdapi/v1/txt2img", 503))
