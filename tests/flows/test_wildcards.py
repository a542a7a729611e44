"""Drawn prompts at the WebUI, beside the pictures, and in a retry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.generate import generate
from flows.job import GenerationJob
from store.settings import settings
from tasks.preflight import JobRefused
from tests.flows.test_publishing import Run
from tests.requesting import arm
from webui import infotext
from webui.embedded.server import EmbeddedWebUI

pytestmark = pytest.mark.usefixtures("prefect_server")
TEMPLATE = "a __animal__, {2$$ and $$fog|rain|snow|sun}"


@pytest.fixture(autouse=True)
def animals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "wildcards"
    folder.mkdir()
    (folder / "animal.txt").write_text("\n".join(f"animal {number}" for number in range(50)))
    monkeypatch.setattr(settings(), "wildcards", folder)
    return folder / "animal.txt"


def job(prompt: str = TEMPLATE, seed: int = -1, images: int = 3, **more: Any) -> GenerationJob:
    stage = {"prompt": prompt, "negative_prompt": "{grain|blur}", "steps": 2, "width": 64, "height": 64, "seed": seed}
    fields = {"name": "drawn", "checkpoint": "photo", "images": images, "txt2img": stage, **more}
    return GenerationJob.model_validate(fields)


def asked(server: EmbeddedWebUI) -> list[str]:
    """The prompts, in order; loads of checkpoints left out."""
    bodies = [body for _, _, _, body in server.requests.of("POST", "/sdapi/v1/txt2img") if body]
    return [body["prompt"] for body in bodies if body["steps"] > 1]


def test_each_picture_has_its_prompt_and_says_of_what_template(server: EmbeddedWebUI, home: Path) -> None:
    published = Run(generate, server.url, home / "gallery", job=job(seed=7, img2img={"denoising_strength": 0.5}))
    paths = [Path(one.path) for one in published.attempt()]
    assert len(paths) == len(set(asked(server))) == 3
    for path, prompt in zip(paths, asked(server), strict=True):
        read = infotext.parse(infotext.read(path) or "")
        assert read.prompt == prompt
        assert read.settings["Template"] == TEMPLATE
        assert read.settings["Negative Template"] == "{grain|blur}"
        assert json.loads(path.with_suffix(".json").read_text())["templates"][prompt] == TEMPLATE


def test_a_retry_paints_the_same_prompts_whatever_became_of_the_files(
    server: EmbeddedWebUI, home: Path, animals: Path
) -> None:
    run = Run(generate, server.url, home / "gallery", job=job())
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/txt2img", contains='"steps": 2,', nth=2)
    with pytest.raises(Exception, match=r"1 of 3 jobs failed|out of memory"):
        run.attempt()
    first = asked(server)
    animals.write_text("something else\n")
    server.requests.clear()
    assert len(run.attempt()) == 3
    [again] = asked(server)
    assert again in first
    Run(generate, server.url, home / "gallery", job=job()).attempt()
    assert not {*asked(server)[1:]} & {*first}, "another run draws others"


def test_a_picture_of_a_template_is_the_one_of_its_prompt(server: EmbeddedWebUI, home: Path) -> None:
    drawn = Run(generate, server.url, home / "drawn", job=job(seed=7)).attempt()[1]
    typed = job(asked(server)[1], seed=8, images=1)
    assert typed.txt2img
    typed.txt2img.negative_prompt = infotext.parse(infotext.read(Path(drawn.path)) or "").negative_prompt
    [plain] = Run(generate, server.url, home / "typed", job=typed).attempt()
    assert same_pixels(drawn.path, plain.path)


def same_pixels(one: str, other: str) -> bool:
    from PIL import Image

    return Image.open(one).tobytes() == Image.open(other).tobytes()


def test_an_unknown_wildcard_is_told_or_refused(
    server: EmbeddedWebUI, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Run(generate, server.url, home / "gallery", job=job("a __beast__", images=1)).attempt()
    assert asked(server) == ["a __beast__"]
    assert "__beast__ has no file in" in caplog.text
    with pytest.raises(JobRefused, match="__beast__ has no file"):
        Run(generate, server.url, home / "gallery", job=job("a __beast__", wildcards=True)).attempt()
