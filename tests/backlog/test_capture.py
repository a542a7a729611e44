"""A picture's infotext becomes the job that paints it again."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image, ImageChops

from backlog.capture import Captured, capture
from backlog.task import InvalidJob
from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.batch import BatchIncomplete, batch
from webui.embedded.server import EmbeddedWebUI

SMALL = {"prompt": "a lighthouse", "steps": 3, "width": 64, "height": 64}
HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6, "hr_additional_modules": ["Use same choices"]}
FACE = {"prompt": "portrait of a woman", "width": 256, "height": 256, "steps": 4}


def detailed(*units: dict[str, Any]) -> dict[str, Any]:
    """ADetailer as the page sends it: in the same request."""
    args = [True, False, *({"ad_model": "mediapipe_face_full"} | unit for unit in units)]
    return {"alwayson_scripts": {"ADetailer": {"args": args}}}


def overriding(**options: Any) -> dict[str, Any]:
    return {"override_settings": options}


DIFFERENT: list[dict[str, Any]] = [
    *(SMALL | {"sampler_name": name} for name in ("Euler a", "Euler", "DPM++ 2M", "DPM++ SDE", "LMS", "Heun", "DDIM")),
    *(SMALL | {"scheduler": name} for name in ("Karras", "Exponential", "SGM Uniform", "Simple", "Beta")),
    *(SMALL | {"width": wide, "height": high} for wide, high in ((128, 64), (64, 192), (96, 104))),
    *(SMALL | overriding(sd_model_checkpoint=name) for name in ("oil", "ink", "watercolour")),
    SMALL | {"sampler_name": "DPM++ 2M Karras"},
    SMALL | {"cfg_scale": 3.5, "steps": 11},
    SMALL | {"prompt": "a dog,\na cat, (a hat:1.3)", "negative_prompt": "fog, rain:\nsnow"},
    SMALL | {"prompt": 'a sign that says "open: 24 h"'},
    SMALL | {"prompt": "ein Märchenschloß, 城"},
    SMALL | {"styles": ["Watercolour", "Night scene"]},
    SMALL | overriding(CLIP_stop_at_last_layers=2),
    SMALL | {"tiling": True},
    SMALL | {"subseed": 5, "subseed_strength": 0.3},
    SMALL | {"subseed": 5, "subseed_strength": 0.3, "seed_resize_from_w": 128, "seed_resize_from_h": 96},
    SMALL | {"seed_resize_from_w": 128, "seed_resize_from_h": 96},
    SMALL | {"sampler_name": "Euler a"} | overriding(eta_noise_seed_delta=31337),
    SMALL | overriding(randn_source="CPU"),
    SMALL | {"restore_faces": True},
    SMALL | HIRES,
    SMALL | HIRES | {"hr_upscaler": "Lanczos", "denoising_strength": 0.25},
    SMALL | HIRES | {"hr_second_pass_steps": 2, "hr_scale": 2},
    SMALL | HIRES | {"hr_sampler_name": "Euler", "hr_scheduler": "Karras"},
    SMALL | HIRES | {"hr_prompt": "a castle, at sea", "hr_negative_prompt": "noon"},
    SMALL | HIRES | {"hr_checkpoint_name": "oil"},
    SMALL | HIRES | {"hr_scale": 1, "hr_resize_x": 128, "hr_resize_y": 128},
    SMALL | HIRES | {"hr_cfg": 4.5},
    FACE | detailed({}),
    FACE | detailed({"ad_denoising_strength": 0.7, "ad_confidence": 0.4, "ad_mask_blur": 8}),
    FACE | detailed({"ad_prompt": "an old man, grey", "ad_negative_prompt": "hat"}),
    FACE | detailed({"ad_inpaint_only_masked": False}),
    FACE | detailed({"ad_use_steps": True, "ad_steps": 9}, {"ad_model": "mediapipe_face_short", "ad_dilate_erode": 8}),
    FACE | detailed({"ad_mask_k": 1, "ad_x_offset": 3}),
    FACE | detailed({"ad_use_inpaint_width_height": True, "ad_inpaint_width": 128, "ad_inpaint_height": 128}),
    FACE | HIRES | detailed({}),
    SMALL | {"init_images": ["a picture"]},
    SMALL | {"prompt": "", "cfg_scale": 1.0},
]


def painted(server: EmbeddedWebUI, payload: dict[str, Any], seed: int) -> bytes:
    """A picture as somebody else made it, by the WebUI's API."""
    chosen = {"sd_model_checkpoint": "photo.safetensors", "CLIP_stop_at_last_layers": 1}
    overrides = chosen | payload.get("override_settings", {})
    body = payload | {"seed": seed, "override_settings": overrides}
    endpoint = "txt2img"
    if "init_images" in payload:
        start = io.BytesIO()
        Image.new("RGB", (64, 64), "green").save(start, "PNG")
        body["init_images"], endpoint = [base64.b64encode(start.getvalue()).decode()], "img2img"
    answer = requests.post(f"{server.url}/sdapi/v1/{endpoint}", json=body, timeout=60)
    assert answer.ok, (payload, answer.text[:300])
    return base64.b64decode(answer.json()["images"][0])


@pytest.mark.timeout(400)
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.long)])
def test_19_of_20_of_50_differently_made_pictures_come_round(
    server: EmbeddedWebUI, prefect_server: None, home: Path, every: int
) -> None:
    """Pixel for pixel. What does not, said so: something was named that the job could not carry over."""
    assert len(DIFFERENT) == 50
    numbers = range(0, len(DIFFERENT), every)
    pictures = {f"n{number:02}": painted(server, DIFFERENT[number], 1000 + number) for number in numbers}
    captured = {name: capture(picture, name) for name, picture in pictures.items()}
    gallery = Gallery(folder=str(home / "gallery"))
    again: dict[str, bytes] = {}
    try:
        batch("again", [one.job for one in captured.values()], None, WebUI(base_url=server.url), gallery)
    except BatchIncomplete as incomplete:
        print(incomplete)
    for path in (home / "gallery").rglob("*.png"):
        again[path.name.partition("-")[0]] = path.read_bytes()
    other = [name for name in pictures if name not in again or not same(pictures[name], again[name])]
    told = {name: captured[name].lost for name in other}
    assert len(other) <= len(pictures) // 20, {name: (DIFFERENT[int(name[1:])], told[name]) for name in other}
    assert all(told.values()), told


def same(one: bytes, other: bytes) -> bool:
    with Image.open(io.BytesIO(one)) as first, Image.open(io.BytesIO(other)) as second:
        return first.size == second.size and ImageChops.difference(first, second).getbbox() is None


def read(settings: str, prompt: str = "a cat") -> Captured:
    return capture(f"{prompt}\nNegative prompt: fog\nSteps: 20, Sampler: Euler, Seed: 1, Size: 64x64, {settings}")


def test_the_flavour_of_automatic1111() -> None:
    found = capture(
        "a cat <lora:fur:0.8>\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 5, Size: 512x768, "
        'Model hash: 0123456789, Model: photo, VAE hash: 0011223344, VAE: mse.ckpt, Lora hashes: "fur: abc012", '
        'Hashes: {"model": "0123456789"}, Denoising strength: 0.4, Clip skip: 2, ENSD: 31337, Hires upscale: 2, '
        "Hires steps: 8, Hires upscaler: R-ESRGAN 4x+, Version: v1.10.1"
    )
    assert found.lost == []
    form = found.job.txt2img
    assert (form.sampler_name, form.scheduler, form.clip_skip) == ("DPM++ 2M", "Karras", 2)
    assert (form.enable_hr, form.hr_scale, form.hr_second_pass_steps, form.denoising_strength) == (True, 2, 8, 0.4)
    assert (found.job.checkpoint, found.job.vae) == ("photo", ["mse.ckpt"])
    assert form.extra == {"override_settings": {"eta_noise_seed_delta": 31337, "randn_source": "GPU"}}


def test_the_modules_of_forge_get_their_endings_from_the_webuis_list() -> None:
    text = "Model: flux, Module 1: ae, Module 2: clip_l, Distilled CFG Scale: 3.5"
    found = capture(f"a cat\nSteps: 20, Seed: 1, Size: 64x64, {text}", modules=["ae.safetensors", "clip_l.safetensors"])
    assert (found.job.vae, found.lost) == (["ae.safetensors", "clip_l.safetensors"], [])
    assert found.job.txt2img.extra["distilled_cfg_scale"] == 3.5
    assert ["ae" in one for one in read(text).lost] == [True, False]


def test_controlnet_is_carried_as_extra_without_its_picture() -> None:
    found = read('Model: photo, ControlNet 0: "Module: canny, Model: cn [0123], Weight: 0.5, Pixel Perfect: True"')
    [unit] = found.job.txt2img.extra["alwayson_scripts"]["ControlNet"]["args"]
    assert unit == {"module": "canny", "model": "cn [0123]", "weight": 0.5, "pixel_perfect": True}
    assert len(found.lost) == 1 and "ControlNet 0" in found.lost[0]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ("Model: photo, Dynamic thresholding enabled: True", "Dynamic thresholding enabled: True"),
        ("Model: photo, Denoising strength: 0.5", "img2img"),
        ("Model: photo, Denoising strength: 0.5, Hires resize: 100x300", "Hires resize: 100x300"),
        ('Model: photo, Lora hashes: "fur: abc012"', "the LoRA fur"),
        ("Model: photo, Mask blur: 4", "Mask blur: 4"),
    ],
)
def test_what_cannot_be_carried_over_is_named(settings: str, names: str) -> None:
    assert any(names in one for one in read(settings).lost)


@pytest.mark.parametrize("text", ["", "a cat", "a cat\nSteps: 900, Seed: 1, Size: 64x64, Model: photo"])
def test_what_is_no_infotext_is_said(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidJob, match="moon"):
        capture(text, "moon")


def test_a_file_that_is_no_picture_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(InvalidJob, match="not a picture"):
        capture(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    with pytest.raises(InvalidJob, match="carries no infotext"):
        capture(tmp_path / "b.png")
