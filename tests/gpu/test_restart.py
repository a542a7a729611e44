"""A WebUI that hangs, or has lost its checkpoint, is restarted where it can be and where that costs nobody a job."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from gpu import restart as restarts
from gpu import turn as turns
from gpu.request import Request, load_request
from gpu.restart import restart
from gpu.sender import Sender
from tests.gpu.test_sender import asynchronously, interrupts
from tests.requesting import PATIENCE, Stranger, arm, request_for
from tests.waiting import until
from webui.client import Timeouts, WebUIClient
from webui.embedded.checkpoints import write_checkpoint
from webui.embedded.server import EmbeddedWebUI
from webui.errors import CallFailed, CheckpointLost, Stalled, Unavailable, WebUIError

RESTARTABLE = ("--faults", "--api-server-stop", "--restartable")


@pytest.fixture
def started(home: Path, tmp_path: Path) -> Iterator[Callable[..., WebUIClient]]:
    """Starts a WebUI of one checkpoint as a process, which a restart needs; returns a client for it."""
    processes: list[subprocess.Popen[str]] = []
    write_checkpoint(tmp_path / "webui" / "models" / "Stable-diffusion" / "photo.safetensors")

    def start(*flags: str) -> WebUIClient:
        command = [sys.executable, "-m", "webui.embedded", "--port", "0", "--folder", str(tmp_path / "webui"), *flags]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert processes[-1].stdout
        line = next(line for line in processes[-1].stdout if "http://" in line)
        return WebUIClient("http://" + line.split("http://")[1].strip())

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def fault(client: WebUIClient, **fault: object) -> None:
    requests.post(f"{client.base_url}/faults", json=fault, timeout=PATIENCE).raise_for_status()


def picture(client: WebUIClient) -> Request:
    (checkpoint,) = client.checkpoints()
    return load_request(checkpoint, {"sd_model_checkpoint": checkpoint.file})


def is_back(client: WebUIClient) -> bool:
    try:
        return bool(client.checkpoints())
    except WebUIError:
        return False


def test_a_webui_whose_sampler_obeys_nothing_is_restarted_once_and_the_picture_painted_again(
    started: Callable[..., WebUIClient], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(turns, "STOPS_WITHIN", 0.3)
    client = started(*RESTARTABLE)
    request = picture(client)
    with Sender(client, run="r" * 8) as sender:
        assert sender.answer(request).generation.images
        fault(client, kind="stall")
        client.timeouts = Timeouts(generation=1)
        with pytest.raises(Stalled, match="stood still"):
            sender.answer(request)
        until("it is back", lambda: is_back(client))
        client.timeouts = Timeouts()
        assert sender.answer(request).generation.images
        assert not list((home / "inflight").glob("*.json"))

        fault(client, kind="stall", times=None)
        client.timeouts = Timeouts(generation=1)
        with pytest.raises(Stalled):
            sender.answer(request)
        with pytest.raises(Stalled, match=r"It was not restarted: it was restarted 0 min ago already\. Restart it"):
            sender.answer(request)
        requests.delete(f"{client.base_url}/faults", timeout=PATIENCE)


def test_a_restart_of_ours_is_told_as_a_webui_that_is_away(
    started: Callable[..., WebUIClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So its run hands back, and goes on when it is back."""
    monkeypatch.setattr(turns, "STOPS_WITHIN", 0.3)
    client = started(*RESTARTABLE)
    request = picture(client)
    with Sender(client, run="r" * 8) as sender:
        assert sender.answer(request).generation.images
        fault(client, kind="stall")
        client.timeouts = Timeouts(generation=1)
        monkeypatch.setattr(restarts, "AGAIN_AFTER", float("inf"))
        with pytest.raises(Stalled):
            sender.answer(request)
        monkeypatch.setattr(restarts, "AGAIN_AFTER", 0.0)
        with pytest.raises(Unavailable, match="the WebUI hangs and was restarted") as caught:
            sender.answer(request)
        assert caught.value.transient


def test_with_anybody_elses_job_there_nothing_is_restarted(server: EmbeddedWebUI, client: WebUIClient) -> None:
    server.steps.hold()
    first = Stranger(server, seed=70)
    assert server.steps.wait_for(0, PATIENCE)
    assert restart(client, []) == "somebody else's job runs there"
    second = Stranger(server, seed=71)
    assert server.job_queue.wait_for_waiting(1, PATIENCE)
    assert restart(client, [first.task]) == "1 jobs of others wait there"
    server.steps.release()
    assert first.done() and second.done()
    assert not server.requests.of("POST", "/sdapi/v1/server-restart")


@pytest.mark.parametrize("can_stop", [False, True], ids=["404", "501"])
def test_one_that_cannot_restart_is_asked_again_the_next_time(tmp_path: Path, home: Path, can_stop: bool) -> None:
    with EmbeddedWebUI(folder=tmp_path / "webui", can_stop=can_stop) as server:
        for _ in range(2):
            assert "--api-server-stop" in restart(WebUIClient(server.url), [])
        assert len(server.requests.of("POST", "/sdapi/v1/server-restart")) == 2


def test_where_nobody_can_tell_whose_jobs_there_are_nothing_is_restarted(tmp_path: Path, home: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path / "webui", nowebui=True, can_stop=True) as server:
        assert "--nowebui" in restart(WebUIClient(server.url), [])
        assert not server.requests.of("POST", "/sdapi/v1/server-restart")


def test_with_a_single_checkpoint_a_failed_load_is_healed_by_a_restart(started: Callable[..., WebUIClient]) -> None:
    client = started(*RESTARTABLE)
    request = picture(client)
    fault(client, kind="load failure")
    with Sender(client, run="r" * 8) as sender:
        with pytest.raises(CallFailed, match="HeaderTooLarge"):
            sender.answer(request)
        lost = "'NoneType' object has no attribute 'sd_checkpoint_info'"
        fault(client, kind="error", status=500, body={"error": "AttributeError", "message": lost})
        with pytest.raises(CheckpointLost) as caught:
            sender.answer(request)
        assert caught.value.transient
        until("it is back", lambda: is_back(client))
        assert sender.answer(request).generation.images


def test_where_it_cannot_be_restarted_a_person_is_told_what_to_do(started: Callable[..., WebUIClient]) -> None:
    client = started("--faults")
    lost = "'NoneType' object has no attribute 'sd_checkpoint_info'"
    fault(client, kind="error", status=500, body={"error": "AttributeError", "message": lost})
    with (
        Sender(client, run="r" * 8) as sender,
        pytest.raises(CheckpointLost, match=r"or restart it\. It was not restarted by itself: it can't be") as caught,
    ):
        sender.answer(picture(client))
    assert not caught.value.transient


def test_a_stranger_that_stands_still_is_said_and_not_interrupted(
    server: EmbeddedWebUI, client: WebUIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LONGEST_STILL", 0.5)
    server.steps.hold()
    stranger = Stranger(server)
    assert server.steps.wait_for(0, PATIENCE)
    said: list[str | None] = []
    with Sender(client, run="r" * 8, on_wait=said.append) as sender:
        ours = asynchronously(sender, request_for(server))
        until("it is said", lambda: len(said) == 2)
        assert "it stands still for 0 min: look at the WebUI, nobody else's job is interrupted" in str(said[1])
        server.steps.release()
        assert ours.result(PATIENCE).generation.images
    assert stranger.done()
    assert interrupts(server) == 0
    assert said[-1] is None


def test_the_error_says_why_it_was_not_restarted(
    server: EmbeddedWebUI, client: WebUIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "STOPS_WITHIN", 0.3)
    client.timeouts = Timeouts(generation=1)
    arm(server, kind="stall")
    request = request_for(server)
    with Sender(client, run="r" * 8) as sender:
        with pytest.raises(Stalled, match="stood still"):
            sender.answer(request)
        stranger = Stranger(server)
        assert server.job_queue.wait_for_waiting(1, PATIENCE)
        with pytest.raises(Stalled, match="1 jobs of others wait there"):
            sender.answer(request)
        assert server.faults
        server.faults.disarm()
    assert stranger.done()
