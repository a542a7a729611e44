"""The last stage: more pixels."""

from __future__ import annotations

from typing import Any

from gpu.request import Request
from pictures import effects
from pictures.checks import Painted
from store.picture import Picture
from tasks.form import StageForm, extra_field, field
from tasks.inventory import Inventory
from tasks.stage import Item, Settings, Size, Stage, Step, bounded
from webui.models import ImageInfo


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
        return "", effects.of_upscaler(request, painted)


UPSCALE = UpscaleStage()
