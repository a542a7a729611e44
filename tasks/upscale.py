"""The last stage: more pixels."""

from __future__ import annotations

from typing import Any

from gpu.request import Request
from pictures.checks import Painted, is_flat, is_plain_resize
from store.picture import Picture, decoded
from tasks.form import StageForm, extra_field, field
from tasks.inventory import Inventory
from tasks.stage import Item, Settings, Size, Stage, Step, bounded
from webui import infotext as infotexts
from webui.errors import WithoutEffect
from webui.models import ImageInfo

RESIZES = frozenset({"None", "Lanczos", "Nearest", None})  # upscalers that do nothing else


class Upscale(StageForm):
    """Enlarge each picture."""

    upscaler: str = field(..., "Upscaler", "As the WebUI lists it, such as Lanczos or R-ESRGAN 4x+.", 1)
    factor: float = field(2.0, "Factor", "1 to 8.", 2, ge=1, le=8)
    extra: dict[str, Any] = extra_field('{"codeformer_visibility": 0.5}')

    def enlarged(self, wide: int, high: int) -> Size:
        """Width and height in pixels that a picture of ``wide`` × ``high`` becomes.

        Raises:
            ValueError: larger than the bound of 8192 pixels a side.
        """
        factor = 1 if self.upscaler == "None" else self.factor  # a WebUI then leaves the picture as it is
        size = int(wide * factor), int(high * factor)
        return bounded(size, f"upscaling {wide}×{high} by {factor:g}")


class UpscaleStage(Stage[Upscale]):
    name = "upscale"
    endpoint = "extra-single-image"
    needs_checkpoint = False

    def settings(self, form: Upscale, before: Settings) -> Settings:
        size = form.enlarged(*before.size) if before.size is not None else None
        return Settings(before.sampling, before.checkpoint, size)

    def weight(self, step: Step[Upscale]) -> float:
        """An upscaler does not sample; it takes about as long as five steps."""
        return 5

    def look_up(self, step: Step[Upscale], inventory: Inventory) -> None:
        inventory.payload(self.endpoint, {"upscaler_1": step.form.upscaler}, step.form.extra)

    def fields(self, step: Step[Upscale], item: Item, number: int, picture: Picture) -> dict[str, Any]:
        form = step.form
        payload = {"upscaler_1": form.upscaler, "upscaling_resize": form.factor, "resize_mode": 0}
        return {"payload": form.with_extra(payload), "size": form.enlarged(picture.width, picture.height)}

    def judge(self, request: Request, info: ImageInfo, painted: Painted, infotext: str) -> tuple[str, str]:
        """An upscaler answers no infotext: the one of its input, with what it did."""
        assert request.init is not None
        before, payload = decoded(request.init.read()), request.payload
        names = [payload["upscaler_1"]]
        if payload.get("extras_upscaler_2_visibility"):
            names.append(payload.get("upscaler_2"))
        # A picture of one colour is what Lanczos makes of it, whatever the upscaler.
        if not RESIZES.issuperset(names) and not is_flat(before) and is_plain_resize(before, painted.image):
            raise WithoutEffect(
                f"{request.title}: {names[0]} did nothing, the picture was only resized. Is its file in the WebUI's "
                "models folder, and whole? Its console says why it was not loaded"
            )
        text, added = infotexts.read(before) or "", {}
        if not infotexts.parse(text).settings:
            added["Size"] = f"{before.width}x{before.height}"
        added["Postprocess upscale by"] = payload["upscaling_resize"]
        added["Postprocess upscaler"] = payload["upscaler_1"]
        return "", infotexts.extended(text, added)


UPSCALE = UpscaleStage()
