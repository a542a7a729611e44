"""Whether what came back is what was asked for: nothing is believed because of a 200."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops

from gpu.request import Request
from store.picture import decoded
from webui.client import WebUIClient
from webui.errors import BlankPicture, BrokenImage, WrongCheckpoint, WrongImages
from webui.models import Generation, ImageInfo

FLAT = 2  # levels of 255 that a picture of one colour may vary by
SAMPLE = 256  # pixels a side that are looked at for that
WINDOW = 128  # pixels a side of an enlarged picture that are compared first


@dataclass(frozen=True)
class Painted:
    """A picture as it came back, and decoded."""

    content: bytes
    image: Image.Image


def checked(request: Request, generation: Generation) -> list[Painted]:
    """The pictures of an answer, when they are what was asked for.

    Raises:
        WrongCheckpoint, WrongImages, BrokenImage, BlankPicture: they are not.
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
    varied = request.payload.get("subseed_strength")  # the seed stays then, and the variation seed rises
    seeds = request.seeds[:1] * wanted if varied else request.seeds
    if tuple(info.all_seeds[:wanted]) != seeds:
        raise WrongImages(f"{request.title} asked for seeds {seeds}, {info.all_seeds} came back")
    return [_checked(request, content) for content in generation.images[:wanted]]


def _checked(request: Request, content: bytes) -> Painted:
    try:
        image = decoded(content)
    except ValueError as error:
        raise BrokenImage(f"{request.title} came back broken: {error}") from error
    # Hires fix and upscalers may round down to the multiple of 8 that a latent has.
    rounded = tuple(side // 8 * 8 for side in request.size or ())
    if request.size and image.size not in (request.size, rounded) and "script_name" not in request.payload:
        raise WrongImages(f"{request.title} asked for {request.size} pixels, {image.size} came back")
    # What is made of a picture of one colour may be one, too.
    if is_flat(image) and not (request.init is not None and is_flat(decoded(request.init.read()))):
        raise BlankPicture(
            f"{request.title} came back with nothing on it but the colour {image.convert('RGB').getpixel((0, 0))}. A "
            "model or VAE that calculates NaNs does that: try another VAE, or start the WebUI with --no-half-vae"
        )
    return Painted(content, image)


def check_loaded(request: Request, info: ImageInfo, loaded: Sequence[str], client: WebUIClient) -> None:
    """Whether the WebUI had the checkpoint in memory that the answer names.

    A WebUI notes name and hash before it loads for the last time: when somebody selects another model during our load,
    that one paints, under our name. ``loaded`` tells: the hashes of what it was seen to have in memory while it painted
    and just after, of which one that is ours is enough. No proof against us is a hash that no checkpoint has (it can be
    stale after a start), or that of a second model that the request itself names.

    Raises:
        WrongCheckpoint: it had only another one.
    """
    ours, own = request.checkpoint, info.sd_model_hash
    if ours is None or not loaded or any((own and one.startswith(own)) or one == ours.sha256 for one in loaded):
        return
    others = [one for one in client.checkpoints() if one.sha256 in loaded]
    if others and not any(name in f"{one.title} {one.sha256}" for one in others for name in _further_models(request)):
        raise WrongCheckpoint(
            f"{request.title} asked for {ours.title}, and the answer names it, but {others[0].title} was loaded: "
            "somebody selected that at the WebUI meanwhile. Where nobody did, load another checkpoint and come back"
        )


def _further_models(request: Request) -> set[str]:
    """The checkpoints that a request names beside its own: for the refiner, the hires fix, a pass of ADetailer."""
    payload = request.payload
    passes = (arg for script in payload.get("alwayson_scripts", {}).values() for arg in script.get("args", []))
    names = {one.get("ad_checkpoint") for one in passes if isinstance(one, dict)}
    return {str(one) for one in names | {payload.get("refiner_checkpoint"), payload.get("hr_checkpoint_name")} if one}


def _adds_pictures(request: Request) -> bool:
    """A selectable script may send what it likes, and others, such as ControlNet, their maps behind the pictures."""
    scripts = {str(name).lower() for name in request.payload.get("alwayson_scripts", {})}
    return "script_name" in request.payload or bool(scripts - {"adetailer"})


def is_flat(image: Image.Image) -> bool:
    """Whether a picture is of one colour: black, as NaNs come out of a VAE, or any other.

    It is when in each of red, green and blue the lightest and the darkest of up to 256 × 256 pixels, evenly spread,
    are at most 2 levels of 255 apart. However dark a painted picture is, its own texture is more than that.
    """
    sample = image.resize((min(image.width, SAMPLE), min(image.height, SAMPLE)), Image.Resampling.NEAREST)
    return all(high - low <= FLAT for low, high in sample.convert("RGB").getextrema())  # type: ignore[misc]  # one pair a channel


def is_same(before: Image.Image, after: Image.Image) -> bool:
    """Whether two pictures of one size have the same colours, pixel by pixel."""
    return ImageChops.difference(before.convert("RGB"), after.convert("RGB")).getbbox() is None


def is_plain_resize(before: Image.Image, after: Image.Image) -> bool:
    """Whether ``after`` is nothing but ``before``, resized as Pillow's Lanczos does it, to the last pixel.

    That is what a WebUI answers when it can't load an upscaler. The middle is compared first, within a level, as a
    part is not rounded quite like the whole: an upscaler leaves none of it so, and the whole takes a second at 4096².
    """
    before, how = before.convert(after.mode), Image.Resampling.LANCZOS
    wide, high = before.width / after.width, before.height / after.height
    left, top = (max(0, (side - WINDOW) // 2) for side in after.size)
    right, bottom = min(left + WINDOW, after.width), min(top + WINDOW, after.height)
    box = left * wide, top * high, min(right * wide, before.width), min(bottom * high, before.height)
    middle = before.resize((right - left, bottom - top), how, box=box)
    difference = ImageChops.difference(middle, after.crop((left, top, right, bottom))).convert("RGB")
    if any(most > 1 for _, most in difference.getextrema()):  # type: ignore[misc]  # as above
        return False
    return is_same(before.resize(after.size, how), after)
