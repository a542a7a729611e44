"""Each picture is in the gallery as soon as it is through; a retry needs only what is left to do."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import TerminationSignal
from prefect.flow_engine import run_flow
from prefect.flows import Flow
from prefect.states import AwaitingRetry

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.batch import BatchIncomplete, batch
from flows.generate import generate
from flows.job import GenerationJob
from store.settings import settings
from tasks import paint
from tasks.preflight import JobRefused
from tasks.publish import NotPublished
from tests.requesting import arm
from tests.servers import free_port
from tests.waiting import until
from webui.embedded.checkpoints import write_checkpoint
from webui.embedded.server import EmbeddedWebUI
from webui.errors import OutOfMemory

pytestmark = pytest.mark.usefixtures("prefect_server")
SMALL: dict[str, Any] = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "sampler_name": "Euler"}


def job(name: str = "boat", images: int = 3, seed: int = 1, **more: Any) -> GenerationJob:
    fields = {"name": name, "checkpoint": "photo", "images": images, "txt2img": SMALL | {"seed": seed}, **more}
    return GenerationJob.model_validate(fields)


class Run:
    """One run of a flow, to be tried as often as you like."""

    def __init__(self, flow: Flow[Any, Any], webui: str, folder: Path, **parameters: Any) -> None:
        self.flow, self.folder = flow, folder
        self.parameters = parameters | {"webui": WebUI(base_url=webui), "gallery": Gallery(folder=str(folder))}
        with get_client(sync_client=True) as client:
            self.id = client.create_flow_run(flow).id

    def attempt(self) -> Any:
        with get_client(sync_client=True) as client:
            run: FlowRun = client.read_flow_run(self.id)
            if run.state is not None and run.state.is_final():
                client.set_flow_run_state(self.id, AwaitingRetry(), force=True)
                run = client.read_flow_run(self.id)
        return run_flow(self.flow, flow_run=run, parameters=self.parameters)

    @property
    def pictures(self) -> list[str]:
        return sorted(path.stem for path in self.folder.rglob("*.png"))

    def sheet(self) -> str:
        mine = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[self.id]), key=ArtifactFilterKey(any_=["contact-sheet"])
        )
        with get_client(sync_client=True) as client:
            [artifact] = client.read_artifacts(artifact_filter=mine)
        return str(artifact.data)


@pytest.fixture
def run(server: EmbeddedWebUI, tmp_path: Path) -> Run:
    return Run(generate, server.url, tmp_path / "gallery", job=job())


def painted(server: EmbeddedWebUI) -> list[int]:
    """Seeds, in order; loads of checkpoints left out."""
    asked = [body for _, path, _, body in server.requests if path.endswith(("2img", "extra-single-image"))]
    return [body.get("seed", -1) for body in asked if body and body.get("steps") != 1]


@contextmanager
def meanwhile(do: Any) -> Iterator[None]:
    """What is done by a thread while the flow runs in this one; its error is the test's."""
    errors: list[BaseException] = []

    def doing() -> None:
        try:
            do()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=doing)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        assert not errors, errors


def _full(*_: Any) -> str:
    raise OSError(28, "No space left on device")


def number_is_at_the_webui(server: EmbeddedWebUI, number: int) -> None:
    until(f"picture {number} is asked for", lambda: len(painted(server)) >= number)


# -- at once -------------------------------------------------------------------------------------------------


def test_a_picture_is_in_the_gallery_while_the_next_is_painted(server: EmbeddedWebUI, run: Run) -> None:
    arm(server, kind="slow", seconds=3, path="/sdapi/v1/txt2img", contains='"seed": 3,')
    seen: list[list[str]] = []

    def look() -> None:
        until("two are published", lambda: len(run.pictures) == 2)
        seen.append(run.pictures)

    with meanwhile(look):
        run.attempt()
    assert seen == [["boat-1-txt2img", "boat-2-txt2img"]]
    assert run.pictures == ["boat-1-txt2img", "boat-2-txt2img", "boat-3-txt2img"]


def test_a_slow_gallery_does_not_delay_the_next_request(
    server: EmbeddedWebUI, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, go_on = Gallery.put, threading.Event()

    def slow(gallery: Gallery, name: str, content: bytes) -> str:
        assert go_on.wait(60)
        return put(gallery, name, content)

    def release() -> None:
        number_is_at_the_webui(server, 3)
        assert run.pictures == []
        go_on.set()

    monkeypatch.setattr(Gallery, "put", slow)
    with meanwhile(release):
        assert len(run.attempt()) == 3


def test_a_run_that_fails_lists_what_it_made(server: EmbeddedWebUI, tmp_path: Path) -> None:
    run = Run(generate, server.url, tmp_path / "gallery", job=job(upscale={"upscaler": "Lanczos", "factor": 2}))
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/extra-single-image", nth=2)
    with pytest.raises(OutOfMemory):
        run.attempt()
    assert run.pictures == ["boat-1-upscale"]
    sheet = run.sheet()
    assert sheet.count("data:image/jpeg") == 1
    assert "boat is not finished: 2 after txt2img" in sheet


def test_a_cancelled_run_lists_what_it_made(server: EmbeddedWebUI, run: Run) -> None:
    """Prefect raises TerminationSignal in the main thread when a run's process is told to end, and in the end sends
    that signal on to the process: here one that does nothing by default."""

    def terminate(*_: Any) -> None:
        raise TerminationSignal(signal=signal.SIGURG)

    def cancel() -> None:
        until("two are published", lambda: len(run.pictures) == 2)
        os.kill(os.getpid(), signal.SIGUSR1)

    arm(server, kind="slow", seconds=5, path="/sdapi/v1/txt2img", contains='"seed": 3,')
    before = signal.signal(signal.SIGUSR1, terminate)
    try:
        with meanwhile(cancel), pytest.raises(TerminationSignal):
            run.attempt()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert run.pictures == ["boat-1-txt2img", "boat-2-txt2img"]
    assert run.sheet().count("data:image/jpeg") == 2


def test_the_pictures_of_a_failed_item_of_a_batch_are_published(server: EmbeddedWebUI, tmp_path: Path) -> None:
    run = Run(batch, server.url, tmp_path / "gallery", jobs=[job("one", 3, seed=1), job("two", 1, seed=10)])
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/txt2img", contains='"seed": 3,')
    with pytest.raises(BatchIncomplete):
        run.attempt()
    assert run.pictures == ["one-1-txt2img", "one-2-txt2img", "two-10-txt2img"]
    server.requests.clear()
    assert len(run.attempt()) == 4
    assert painted(server) == [3]


# -- what a retry needs --------------------------------------------------------------------------------------


def test_a_retry_with_all_published_needs_neither_webui_nor_pictures(
    server: EmbeddedWebUI, run: Run, home: Path
) -> None:
    first = run.attempt()
    shutil.rmtree(home / "runs")
    run.parameters["webui"] = WebUI(base_url=f"http://127.0.0.1:{free_port()}")
    assert run.attempt() == first
    assert len(run.pictures) == 3


def test_a_retry_with_all_painted_only_publishes(
    server: EmbeddedWebUI, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Gallery, "put", _full)
        with pytest.raises(NotPublished, match=r"No space left on device.*Retry"):
            run.attempt()
    assert "boat is not finished: 3 after txt2img" in run.sheet()
    run.parameters["webui"] = WebUI(base_url=f"http://127.0.0.1:{free_port()}")
    assert len(run.attempt()) == 3
    assert len(run.pictures) == 3


def test_a_retry_paints_only_what_is_missing_though_the_runs_folder_was_tidied(
    server: EmbeddedWebUI, tmp_path: Path, home: Path
) -> None:
    both = job(img2img={"denoising_strength": 0.5})
    run = Run(generate, server.url, tmp_path / "gallery", job=both)
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/img2img", contains='"seed": 3,')
    with pytest.raises(OutOfMemory):
        run.attempt()
    shutil.rmtree(home / "runs")
    server.requests.clear()
    assert len(run.attempt()) == 3
    assert painted(server) == [3, 3], "txt2img and img2img of the third picture"
    assert len(run.pictures) == 3


def test_a_checkpoint_that_is_not_needed_any_more_may_be_gone(
    server: EmbeddedWebUI, tmp_path: Path, home: Path
) -> None:
    extra = server.engine.checkpoints_folder / "passing.safetensors"
    shutil.copy(next(server.engine.checkpoints_folder.glob("photo*")), extra)
    requests.post(f"{server.url}/sdapi/v1/refresh-checkpoints", timeout=60).raise_for_status()
    run = Run(
        generate,
        server.url,
        tmp_path / "gallery",
        job=job(checkpoint="passing", img2img={"checkpoint": "ink", "denoising_strength": 0.5}),
    )
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/img2img", contains='"seed": 2,')
    with pytest.raises(OutOfMemory):
        run.attempt()
    extra.unlink()
    requests.post(f"{server.url}/sdapi/v1/refresh-checkpoints", timeout=60).raise_for_status()
    server.requests.clear()
    assert len(run.attempt()) == 3
    assert painted(server) == [2, 3]


def test_a_damaged_picture_is_painted_again(server: EmbeddedWebUI, run: Run, home: Path) -> None:
    run.parameters["job"] = job(img2img={"denoising_strength": 0.5})
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/img2img", contains='"seed": 3,')
    with pytest.raises(OutOfMemory):
        run.attempt()
    [third] = (home / "runs").rglob("txt2img-0003-*.png")
    third.write_bytes(third.read_bytes()[:100])
    server.requests.clear()
    assert len(run.attempt()) == 3
    assert painted(server) == [3, 3]


def test_a_job_that_a_retry_refuses_publishes_what_was_made(
    server: EmbeddedWebUI, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = write_checkpoint(server.engine.lora_folder / "passing.safetensors")
    run.parameters["job"] = job(txt2img=SMALL | {"seed": 1, "prompt": "a boat <lora:passing:1>"})
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/txt2img", contains='"seed": 3,')
    with monkeypatch.context() as patched, pytest.raises(OutOfMemory):
        patched.setattr(Gallery, "put", _full)
        run.attempt()
    assert run.pictures == []
    lora.unlink()
    for _ in range(2):
        with pytest.raises(JobRefused, match="no LoRA 'passing'"):
            run.attempt()
        assert run.pictures == ["boat-1-txt2img", "boat-2-txt2img"]


# -- folders that cannot be written --------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["gallery", "runs"])
def test_a_folder_that_cannot_be_written_is_found_before_painting(
    server: EmbeddedWebUI, run: Run, home: Path, which: str
) -> None:
    folder = run.folder if which == "gallery" else settings().runs
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file in the folder's place: not even root can write into it")
    with pytest.raises(OSError, match=f"{folder}.*cannot be written.*Retry"):
        run.attempt()
    assert painted(server) == []
    folder.unlink()
    assert len(run.attempt()) == 3


def test_what_is_painted_waits_for_a_folder_that_cannot_be_written_just_now(
    server: EmbeddedWebUI, run: Run, home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paint, "WRITE_AGAIN_EVERY", 0.05)
    arm(server, kind="slow", seconds=1, path="/sdapi/v1/txt2img", contains='"seed": 2,')

    def away_for_a_while() -> None:
        number_is_at_the_webui(server, 2)
        until("the first is published", lambda: len(run.pictures) == 1)
        settings().runs.rename(home / "aside")
        settings().runs.touch()
        until("it is said", lambda: "cannot be written into" in caplog.text)
        settings().runs.unlink()
        (home / "aside").rename(settings().runs)

    with meanwhile(away_for_a_while):
        assert len(run.attempt()) == 3
    assert painted(server) == [1, 2, 3]
