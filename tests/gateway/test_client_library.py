"""A client of the WebUI's API that others wrote gets from the front door what it gets from the WebUI."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from webuiapi import WebUIApi

from tests.gateway.conftest import Gateway
from webui.embedded.server import EmbeddedWebUI

SMALL: dict[str, Any] = {"prompt": "a boat", "seed": 5, "width": 64, "height": 64}
LISTS = [
    "sd_models",
    "samplers",
    "upscalers",
    "loras",
    "embeddings",
    "scripts",
    "prompt_styles",
    "hypernetworks",
    "face_restorers",
]


def api_at(url: str) -> WebUIApi:
    return WebUIApi(host="127.0.0.1", port=urlsplit(url).port, sampler="Euler", steps=3)


@pytest.fixture
def both(gateway: Gateway, painter: EmbeddedWebUI) -> tuple[WebUIApi, WebUIApi]:
    return api_at(gateway.url), api_at(painter.url)


def test_lists_are_the_webuis(both: tuple[WebUIApi, WebUIApi]) -> None:
    for name in LISTS:
        ours, direct = (getattr(api, f"get_{name}")() for api in both)
        assert ours == direct, name


def test_pictures_are_the_webuis(both: tuple[WebUIApi, WebUIApi]) -> None:
    """One call after the other starts from the last one's picture, as a person's work does."""
    pixels = []
    for api in both:
        first = api.txt2img(**SMALL)
        second = api.img2img(images=[first.image], mask_image=first.image.convert("L"), denoising_strength=0.5, **SMALL)
        large = api.extra_single_image(second.image, upscaler_1="Lanczos", upscaling_resize=2)
        assert first.info["seed"] == 5
        assert api.png_info(first.image).info.startswith("a boat")
        pixels.append([one.image.convert("RGB").tobytes() for one in (first, second, large)])
    assert pixels[0] == pixels[1]


def test_what_it_selects_is_its_own_and_it_is_idle_when_answered(both: tuple[WebUIApi, WebUIApi]) -> None:
    ours, direct = both
    before = direct.get_options()["sd_model_checkpoint"]
    ours.set_options({"sd_model_checkpoint": "oil"})
    assert ours.txt2img(**SMALL).info["sd_model_name"] == "oil"
    assert ours.get_progress()["state"]["job_count"] == 0
    assert ours.get_options()["sd_model_checkpoint"] == "oil"
    ours.interrupt()
    ours.set_options({"sd_model_checkpoint": before})
