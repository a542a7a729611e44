"""Upscaling outside of a generation, and what "PNG Info" reads."""

from __future__ import annotations

import html
from typing import Any

from fastapi import HTTPException
from PIL import Image, ImageFilter

from webui import infotext
from webui.embedded import images
from webui.embedded.catalogue import UPSCALERS
from webui.embedded.engine import Engine
from webui.embedded.schemas import (
    ExtrasBatchImagesRequest,
    ExtrasBatchImagesResponse,
    ExtrasSingleImageRequest,
    ExtrasSingleImageResponse,
    InterrogateRequest,
    PNGInfoResponse,
)

MOST_UPSCALED_PIXELS = 64 * 1024 * 1024
# What a page fills in where an infotext says nothing (recorded).
_UNSAID: dict[str, Any] = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Refiner switch by sampling steps": False,
    "Hires VAE/TE": ["Use same choices"],
}


def extras_single(engine: Engine, req: ExtrasSingleImageRequest) -> ExtrasSingleImageResponse:
    image = images.decode_base64_to_image(req.image)
    pictures, said = _run(engine, req, [image])
    return ExtrasSingleImageResponse(html_info=said, image=images.encode(pictures[0]))


def extras_batch(engine: Engine, req: ExtrasBatchImagesRequest) -> ExtrasBatchImagesResponse:
    pictures = [images.decode_base64_to_image(file.data) for file in req.imageList]
    done, said = _run(engine, req, pictures)
    return ExtrasBatchImagesResponse(html_info=said, images=[images.encode(image) for image in done])


def _run(
    engine: Engine, req: ExtrasSingleImageRequest | ExtrasBatchImagesRequest, pictures: list[Image.Image]
) -> tuple[list[Image.Image], str]:
    state = engine.state
    with engine.job_queue.job("extras", ""):
        state.begin("extras")
        try:
            state.job_count = len(pictures)
            done = []
            said: dict[str, Any] = {}
            for picture in pictures:
                state.nextjob()
                state.skipped = False
                if state.interrupted or state.stopping_generation:
                    break
                result, said = _upscale(engine, picture, req)
                done.append(result)
        finally:
            state.end()
    text = ", ".join(f"{name}: {infotext.quote(value)}" for name, value in said.items())
    return done or pictures, f"<p>{html.escape(text)}</p>"


def _upscale(
    engine: Engine, picture: Image.Image, req: ExtrasSingleImageRequest | ExtrasBatchImagesRequest
) -> tuple[Image.Image, dict[str, Any]]:
    if picture.mode not in ("RGB", "RGBA"):
        picture = picture.convert("RGB")
    if req.upscaler_1 == "None":
        return picture, {}
    for name in (req.upscaler_1, req.upscaler_2):
        assert name in UPSCALERS, f"could not find upscaler named {name}"
    size, said = _target(picture, req)
    if size[0] * size[1] > MOST_UPSCALED_PIXELS:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
            f"tried to allocate {size[0] * size[1] * 12} bytes. Error code 12 (Cannot allocate memory)"
        )
    result = _enlarged(engine, picture, size, req.upscaler_1)
    if req.resize_mode == 1 and req.upscaling_crop:
        box = Image.new(picture.mode, (req.upscaling_resize_w, req.upscaling_resize_h))
        box.paste(result, box=((box.width - size[0]) // 2, (box.height - size[1]) // 2))
        result = box
        said["Postprocess crop to"] = f"{box.width}x{box.height}"
    said["Postprocess upscaler"] = req.upscaler_1
    if req.upscaler_2 != "None" and req.extras_upscaler_2_visibility > 0:
        other = _enlarged(engine, picture, size, req.upscaler_2)
        result = Image.blend(result, other.resize(result.size), req.extras_upscaler_2_visibility)
        said["Postprocess upscaler 2"] = req.upscaler_2
    result.info = dict(picture.info)
    return result, said


def _enlarged(engine: Engine, picture: Image.Image, size: tuple[int, int], upscaler: str) -> Image.Image:
    """The picture enlarged by a listed upscaler. In the place of a network stands Lanczos with sharper edges and a
    faint chequered texture: like a network's, it differs from a plain resize on every picture, uniform ones too.
    Without its weights a network is exactly Lanczos (seen on a real one)."""
    if upscaler == "Nearest":
        return picture.resize(size, Image.Resampling.NEAREST)
    plain = picture.resize(size, Image.Resampling.LANCZOS)
    if upscaler in ("None", "Lanczos") or (engine.faults and engine.faults.lacks_weights(upscaler)):
        return plain
    sharp = plain.convert("RGB").filter(ImageFilter.UnsharpMask(radius=1, percent=60, threshold=0))
    towards_grey = sharp.point([value + (1 if value < 128 else -1) for value in range(256)] * 3)
    width, height = size
    row = b"\xff\0" * (width // 2 + 1)
    two_rows = row[:width] + row[1 : width + 1]
    chequered = Image.frombytes("L", size, (two_rows * (height // 2 + 1))[: width * height])
    sharp.paste(towards_grey, mask=chequered)
    if picture.mode == "RGBA":
        sharp.putalpha(plain.getchannel("A"))
    return sharp


def _target(
    picture: Image.Image, req: ExtrasSingleImageRequest | ExtrasBatchImagesRequest
) -> tuple[tuple[int, int], dict[str, Any]]:
    if req.resize_mode == 0:
        factor = req.upscaling_resize
        size = max(1, int(picture.width * factor)), max(1, int(picture.height * factor))
        return size, {"Postprocess upscale by": factor}
    width, height = req.upscaling_resize_w, req.upscaling_resize_h
    factor = max(width / picture.width, height / picture.height)
    size = max(width, round(picture.width * factor)), max(height, round(picture.height * factor))
    if not req.upscaling_crop:
        factor = min(width / picture.width, height / picture.height)
        size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    return size, {"Postprocess upscale to": f"{width}x{height}"}


def interrogate(engine: Engine, req: InterrogateRequest) -> dict[str, str]:
    """A caption: no network looks at the picture, so it is the prompt that its infotext names.

    Raises HTTPException 404 for another model than the real one's two (by its source), 500 for what is no picture.
    """
    image = images.decode_base64_to_image(req.image)
    with engine.job_queue.lock():
        if req.model not in ("clip", "deepdanbooru"):
            raise HTTPException(404, "Model not found")
        return {"caption": infotext.parse(str(image.info.get(infotext.CHUNK, ""))).prompt or "a picture"}


def png_info(encoded: str) -> PNGInfoResponse:
    image = images.decode_base64_to_image(encoded.strip())
    items = {name: value for name, value in image.info.items() if isinstance(value, (str, int, float))}
    text = items.pop(infotext.CHUNK, "")
    text = text if isinstance(text, str) else ""
    for dull in ("dpi", "gamma", "interlace", "transparency", "jfif", "jfif_version", "jfif_unit"):
        items.pop(dull, None)
    return PNGInfoResponse(info=text, items=items, parameters=_parameters(text))


def _parameters(text: str) -> dict[str, Any]:
    """The infotext as a page would fill it into its fields."""
    parsed = infotext.parse(text)
    found: dict[str, Any] = {}
    for name, value in parsed.settings.items():
        width, x, height = value.partition("x")
        if x and width.isdigit() and height.isdigit():
            found |= {f"{name}-1": width, f"{name}-2": height}
        elif name != "Model":  # Forge chooses the checkpoint by its hash
            found[name] = value
    found |= {"Prompt": parsed.prompt, "Negative prompt": parsed.negative_prompt}
    return found | {name: value for name, value in _UNSAID.items() if name not in found}
