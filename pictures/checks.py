"""Whether what came back is what was asked for: nothing is believed because of a 200."""

from __future__ import annotations

import io

from PIL import Image

from gpu.request import Request
from webui.errors import BrokenImage, WrongCheckpoint, WrongImages
from webui.models import Generation


def checked(request: Request, generation: Generation) -> list[bytes]:
    """The pictures of an answer, when they are what was asked for.

    Raises:
        WrongCheckpoint, WrongImages, BrokenImage: they are not.
    """
    info = generation.info
    if request.checkpoint is not None and not request.checkpoint.painted(info):
        raise WrongCheckpoint(
            f"{request.title} asked for {request.checkpoint.title}, but {info.sd_model_name} "
            f"[{info.sd_model_hash}] painted it. Somebody switched the model at the WebUI, or its list is out of date"
        )
    wanted, came = len(request.seeds), len(generation.images)
    if came < wanted or (came > wanted and not _adds_pictures(request)):
        raise WrongImages(f"{request.title} asked for {wanted} pictures, {came} came back")
    if tuple(info.all_seeds[:wanted]) != request.seeds:
        raise WrongImages(f"{request.title} asked for seeds {request.seeds}, {info.all_seeds} came back")
    for content in generation.images[:wanted]:
        size = size_of(request, content)
        # Hires fix and upscalers may round down to the multiple of 8 that a latent has.
        rounded = tuple(side // 8 * 8 for side in request.size or ())
        if request.size and size not in (request.size, rounded) and "script_name" not in request.payload:
            raise WrongImages(f"{request.title} asked for {request.size} pixels, {size} came back")
    return generation.images[:wanted]


def _adds_pictures(request: Request) -> bool:
    """A selectable script may send what it likes, and others, such as ControlNet, their maps behind the pictures."""
    scripts = {str(name).lower() for name in request.payload.get("alwayson_scripts", {})}
    return "script_name" in request.payload or bool(scripts - {"adetailer"})


def size_of(request: Request, content: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return image.size
    except Exception as error:
        raise BrokenImage(f"{request.title} came back broken ({error}): {len(content)} bytes") from error
