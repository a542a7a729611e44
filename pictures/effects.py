"""What ADetailer or an upscaler made of a picture, by its pixels, and the infotext: its input's, with what was done."""

from __future__ import annotations

from gpu.request import Request
from pictures.checks import Painted, is_flat, is_plain_resize, is_same
from store.picture import decoded
from webui import infotext as infotexts
from webui.errors import WithoutEffect
from webui.models import ImageInfo

RESIZES = frozenset({"None", "Lanczos", "Nearest", None})  # upscalers that do nothing else


def of_adetailer(request: Request, info: ImageInfo, painted: Painted, infotext: str) -> tuple[str, str]:
    """The note and the infotext of a picture; ``infotext`` is the one that was answered.

    With ``skip_img2img`` ADetailer acted if and only if the pixels differ; the answer names it regardless.

    Raises:
        WithoutEffect: it dropped its arguments, or found nothing though the request's only pass is required.
    """
    assert request.init is not None
    if "ADetailer model" not in str(info.extra_generation_params):
        raise WithoutEffect(
            f"{request.title}: ADetailer dropped its arguments and the whole picture was repainted. "
            "Check the pass's extra fields against the WebUI's /adetailer/v1/schema"
        )
    before, said = decoded(request.init.read()), infotexts.parse(infotext)
    text = infotexts.read(before) or ""
    if is_same(before, painted.image):
        if request.must_change:
            raise WithoutEffect(
                f"{request.title}: ADetailer found nothing, and the pass is required. Lower its confidence, choose "
                "another model, or set `required` to false"
            )
        return "nothing found, picture unchanged", text
    if infotexts.parse(text).settings:
        own = {name: one for name, one in said.settings.items() if name.startswith(("ADetailer ", "Lora hashes"))}
        return "", infotexts.extended(text, own)
    # What is skipped is painted all the same, one step at 128 × 128 that nobody sees, and the answer tells of that.
    asked = {"Steps": request.payload["steps"], "Sampler": request.payload["sampler_name"]}
    asked["Size"] = f"{before.width}x{before.height}"
    return "", infotexts.build(said.prompt, said.negative_prompt, {**said.settings, **asked})


def of_upscaler(request: Request, painted: Painted) -> str:
    """The infotext of an enlarged picture.

    Raises:
        WithoutEffect: it was only resized, by an upscaler that should do more.
    """
    assert request.init is not None
    before, payload = decoded(request.init.read()), request.payload
    second = payload.get("upscaler_2") if payload.get("extras_upscaler_2_visibility") else None
    does_more = not RESIZES.issuperset({payload["upscaler_1"], second})
    # A picture of one colour is what Lanczos makes of it, whatever the upscaler.
    if does_more and not is_flat(before) and is_plain_resize(before, painted.image):
        raise WithoutEffect(
            f"{request.title}: {payload['upscaler_1']} did nothing, the picture was only resized. Is its file in the "
            "WebUI's models folder, and whole? Its console says why it was not loaded"
        )
    text, added = infotexts.read(before) or "", {}
    if not infotexts.parse(text).settings:
        added["Size"] = f"{before.width}x{before.height}"
    added["Postprocess upscale by"] = payload["upscaling_resize"]
    added["Postprocess upscaler"] = payload["upscaler_1"]
    return infotexts.extended(text, added)
