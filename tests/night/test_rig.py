"""The instruments themselves: a fault that does nothing would prove anything."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.night.faults import _arm_hang
from tests.night.rig import Night, folder_is_away
from tests.night.strangers import Strangers
from tests.waiting import until


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    """Without its `darkroom up`: the WebUI alone."""
    night = Night.at_home(tmp_path)
    yield night
    night.webui.stop()


class Client:
    """A run's request, in the background; ``error`` is what became of its connection."""

    def __init__(self, night: Night, task: str, route: str = "txt2img") -> None:
        self.error: requests.RequestException | None = None
        self.status = 0
        body = {"prompt": "x", "steps": 20, "width": 64, "height": 64, "seed": 1, "force_task_id": task}
        self._thread = threading.Thread(target=self._send, args=(f"{night.webui.url}/sdapi/v1/{route}", body))
        self._thread.start()

    def _send(self, address: str, body: dict[str, object]) -> None:
        try:
            self.status = requests.post(address, json=body, timeout=30).status_code
        except requests.RequestException as error:
            self.error = error

    def wait(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


def paints(night: Night, task: str) -> Client:
    night.webui.steps.step_time = 0.1
    client = Client(night, task)
    until("it paints", lambda: night.webui.tasks.current == task and night.webui.state.sampling_step, 20)
    return client


def test_broken_connections_are_reset_and_the_webui_paints_on(night: Night) -> None:
    client = paints(night, "task(darkroom-12345678-txt2img-1-a)")
    night.break_connections()
    client.wait()
    assert isinstance(client.error, requests.ConnectionError)
    assert night.webui.state.job_count, "nobody has stopped the job"


def test_a_webui_that_dies_comes_back_on_its_port_and_its_requests_stay_counted(night: Night) -> None:
    client, before = paints(night, "task(darkroom-12345678-txt2img-1-a)"), night.webui.url
    night.webui_dies()
    client.wait()
    assert isinstance(client.error, requests.ConnectionError)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{before}/sdapi/v1/options", timeout=5)
    returning = threading.Thread(target=night.webui_returns, kwargs={"starting": 1.0})
    returning.start()

    def options() -> int:
        try:
            return requests.get(f"{before}/sdapi/v1/options", timeout=5).status_code
        except requests.ConnectionError:
            return 0

    until("it answers 404 while it starts", lambda: options() == 404, 20)
    until("it is back", lambda: options() == 200, 20)
    returning.join(20)
    Client(night, "task(darkroom-12345678-img2img-2-b)").wait()
    assert [(one.run, one.stage) for one in night.asked_by("12345678-…")] == [
        ("12345678", "txt2img"),
        ("12345678", "img2img"),
    ]


def test_the_second_upscale_hangs_until_its_client_leaves(night: Night) -> None:
    _arm_hang(night, "upscale")
    first = Client(night, "", "extra-single-image")
    first.wait()
    second = Client(night, "", "extra-single-image")
    until("both are asked for", lambda: len(night.requests.asked) == 2, 20)
    night.break_connections()
    second.wait()
    assert first.status and second.error is not None


def test_strangers_notice_an_interrupt(night: Night) -> None:
    night.webui.steps.step_time = 0.05
    with Strangers(night, every=0.01, steps=6) as strangers:
        until("one is whole", lambda: strangers.outcomes["whole"], 30)
        until("the next one is under way", lambda: night.webui.state.sampling_step == 2, 30)
        requests.post(f"{night.webui.url}/sdapi/v1/interrupt", timeout=5)
        until("one is touched", lambda: strangers.outcomes["touched"] or strangers.outcomes["unanswered"], 30)


def test_nothing_can_be_written_into_a_folder_that_is_away(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    with folder_is_away(folder), pytest.raises(OSError):
        (folder / "run").mkdir(parents=True)
    (folder / "run").mkdir()
