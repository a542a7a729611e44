"""The third stage: find faces (or whatever its models find) and repaint them in more detail.

ADetailer hides its failures: an unknown model, a field that its schema does not know, nothing found: all are
answered with 200. So its arguments are checked against its own schema before the run (preflight), and what it did
is read from the pixels (pictures/effects.py).
"""

from __future__ import annotations

from typing import Any

from gpu.request import Request
from pictures import effects
from pictures.checks import Painted
from store.picture import Picture
from tasks.form import StageForm, extra_field, field
from tasks.inventory import Inventory
from tasks.stage import Item, Settings, Stage, Step
from webui.errors import NotFound
from webui.models import ImageInfo


class ADetailerPass(StageForm):
    """One pass of one detection model."""

    ad_model: str = field(..., "Detection model", "As ADetailer lists it, such as face_yolov8n.pt.", 1)
    ad_prompt: str = field("", "Prompt", "Empty: the picture's own.", 2)
    ad_negative_prompt: str = field("", "Negative prompt", "Empty: the picture's own.", 3)
    ad_confidence: float = field(0.3, "Detection confidence", "0 to 1.", 4, ge=0, le=1)
    ad_denoising_strength: float = field(0.4, "Denoising strength", "0 to 1.", 5, ge=0, le=1)
    ad_mask_blur: int = field(4, "Mask blur", "Pixels.", 6, ge=0, le=64)
    ad_dilate_erode: int = field(4, "Mask dilation", "Pixels; negative erodes.", 7, ge=-128, le=128)
    ad_inpaint_only_masked: bool = field(True, "Only masked", "Paint the found part at full resolution.", 8)
    ad_inpaint_only_masked_padding: int = field(32, "Only masked: padding", "Pixels around it.", 9, ge=0, le=256)
    required: bool = field(False, "Required", "Nothing found is a failure. Only for a single pass.", 10)
    extra: dict[str, Any] = extra_field('{"ad_use_steps": true, "ad_steps": 30}')

    def arguments(self) -> dict[str, Any]:
        """The pass as ADetailer's schema names it."""
        return self.model_dump(exclude={"required", "extra"}) | self.extra


class ADetailerStage(Stage[list[ADetailerPass]]):
    name = "adetailer"
    endpoint = "img2img"

    def settings(self, form: list[ADetailerPass], before: Settings) -> Settings:
        if before.size is not None and any(side % 8 for side in before.size):
            wide, high = before.size
            raise ValueError(f"{wide}×{high}: ADetailer needs multiples of 8; add an img2img stage to resize it")
        if len(form) > 1 and any(one.required for one in form):
            raise ValueError("a required pass must be the only one: the pixels don't tell which of several acted")
        return before

    def look_up(self, step: Step[list[ADetailerPass]], inventory: Inventory) -> None:
        """The passes, against ADetailer's own list of models and its own schema."""
        try:
            schema = inventory.have("adetailer_schema")
        except NotFound:
            inventory.problems.append(
                "the job has an adetailer stage, but the WebUI has no ADetailer: install the extension"
            )
            return
        for number, one in enumerate(step.form, start=1):
            inventory.names(one.arguments())
            inventory.fits(f"ADetailer field (pass {number})", one.arguments(), schema)

    def fields(self, step: Step[list[ADetailerPass]], item: Item, number: int, picture: Picture) -> dict[str, Any]:
        """Every pass, and nothing but the passes."""
        # The two leading booleans are "enabled" and "skip img2img"; inside a pass the latter would do nothing.
        script = {"ADetailer": {"args": [True, True, *(one.arguments() for one in step.form)]}}
        size = {"width": picture.width, "height": picture.height}
        own = {"denoising_strength": step.form[0].ad_denoising_strength, "alwayson_scripts": script}
        payload = item.payload(step) | size | own | {"seed": picture.seed, "batch_size": 1}
        return {"payload": payload, "must_change": step.form[0].required}

    def judge(self, request: Request, info: ImageInfo, painted: Painted, infotext: str) -> tuple[str, str]:
        return effects.of_adetailer(request, info, painted, infotext)


ADETAILER = ADetailerStage()
