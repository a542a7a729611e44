"""A batch goes on: an error belongs to the items that it concerns, and says so in a few lines."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.batch import BatchIncomplete, batch
from flows.generate import generate, main
from flows.job import GenerationJob
from store.settings import settings
from tests.requesting import arm
from webui.embedded.server import EmbeddedWebUI
from webui.errors import OutOfMemory

SMALL: dict[str, Any] = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "sampler_name": "Euler"}


def job(name: str, seed: int, checkpoint: str = "photo", **more: Any) -> GenerationJob:
    fields = {"name": name, "checkpoint": checkpoint, "txt2img": SMALL | {"seed": seed}, **more}
    return GenerationJob.model_validate(fields)


def pictures(home: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in (home / "gallery").rglob("*.png"))


def run(server: EmbeddedWebUI, home: Path, *jobs: GenerationJob) -> None:
    batch("several", list(jobs), None, WebUI(base_url=server.url), Gallery(folder=str(home / "gallery")))


def test_a_failed_item_is_a_few_lines_in_the_log(
    server: EmbeddedWebUI, prefect_server: None, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/txt2img", contains='"seed": 2,')
    with pytest.raises(BatchIncomplete, match=r"1 of 2 jobs failed.*two: "):
        run(server, home, job("one", 1), job("two", 2))
    assert pictures(home) == ["one"]
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not [record for record in told if record.exc_info], "no traceback"
    assert 3 <= len(told) <= 5, [record.getMessage() for record in told]
    assert max(record.getMessage().count("\n") for record in told) <= 2


def test_a_program_error_keeps_its_traceback(
    server: EmbeddedWebUI,
    prefect_server: None,
    home: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> str:
        raise KeyError("a mistake in the program")

    monkeypatch.setattr(Gallery, "put", broken)
    with pytest.raises(KeyError):
        generate(job("one", 1), WebUI(base_url=server.url), Gallery(folder=str(home / "gallery")))
    assert [record for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info]


def test_one_job_that_fails_is_a_few_lines_too(
    server: EmbeddedWebUI, prefect_server: None, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/txt2img")
    with pytest.raises(OutOfMemory):
        generate(job("one", 1), WebUI(base_url=server.url), Gallery(folder=str(home / "gallery")))
    assert not [record for record in caplog.records if record.exc_info]


def test_the_flow_as_a_command_says_the_reason(
    server: EmbeddedWebUI,
    prefect_server: None,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("checkpoint: inc\ntxt2img: {prompt: a castle}\n")
    monkeypatch.setattr(settings(), "webui_url", server.url)
    monkeypatch.setattr(sys, "argv", ["flows.generate", str(file)])
    assert main() == 1
    said = capsys.readouterr().err
    assert "no checkpoint 'inc' (did you mean 'ink'?)" in said
    assert "Traceback" not in said


def test_a_checkpoint_that_cannot_be_loaded_fails_its_own_jobs(
    server: EmbeddedWebUI, prefect_server: None, home: Path
) -> None:
    run(server, home, job("before", 1, "photo"))
    arm(server, kind="load failure", asked="oil*")
    with pytest.raises(BatchIncomplete, match=r"2 of 3 jobs failed.*could not be loaded"):
        run(server, home, job("bad", 1, "oil"), job("worse", 2, "oil"), job("good", 3, "ink"))
    assert pictures(home) == ["before", "good"]


def test_what_can_not_be_published_fails_its_own_job(
    server: EmbeddedWebUI, prefect_server: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Gallery.put

    def full(gallery: Gallery, name: str, content: bytes) -> str:
        if "bad" in name:
            raise OSError(28, "No space left on device")
        return put(gallery, name, content)

    monkeypatch.setattr(Gallery, "put", full)
    with pytest.raises(BatchIncomplete, match=r"1 of 2 jobs failed.*No space left"):
        run(server, home, job("bad", 1), job("good", 2))
    assert pictures(home) == ["good"]
