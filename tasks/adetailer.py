"""The third stage: find faces (or whatever its models find) and repaint them in more detail.

ADetailer hides its failures: an unknown model, a field that its schema does not know, nothing found: all are
answered with 200. So its arguments are checked against its own schema before the run (preflight), and what it did
is read from the pixels: with ``skip_img2img`` it acted if and only if they differ from the input.
"""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageChops

from gpu.request import Request
from store.picture import Picture
from tasks.form import StageForm, extra_field, field
from tasks.inventory import Inventory
from tasks.stage import Item, Settings, Stage, Step
from webui import infotext
from webui.errors import ADetailerIgnored, NotFound
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
    extra: dict[str, Any] = extra_field('{"ad_use_steps": true, "ad_steps": 30}')

    def arguments(self) -> dict[str, Any]:
        """The pass as ADetailer's schema names it."""
        return self.model_dump(exclude={"extra"}) | self.extra


class ADetailerStage(Stage[list[ADetailerPass]]):
    name = "adetailer"
    endpoint = "img2img"

    def settings(self, form: list[ADetailerPass], before: Settings) -> Settings:
        if before.size is not None and any(side % 8 for side in before.size):
            wide, high = before.size
            raise ValueError(f"{wide}×{high}: ADetailer needs multiples of 8; add an img2img stage to resize it")
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
        return {"payload": item.payload(step) | size | own | {"seed": picture.seed, "batch_size": 1}}

    def check(self, request: Request, info: ImageInfo) -> None:
        if "ADetailer model" not in str(info.extra_generation_params):
            raise ADetailerIgnored(
                f"{request.title}: ADetailer dropped its arguments and the whole picture was repainted. "
                "Check the pass's extra fields against the WebUI's /adetailer/v1/schema"
            )

    def note(self, request: Request, content: bytes) -> str:
        """With ``skip_img2img`` it acted if and only if the pixels differ; the infotext names it regardless."""
        assert request.init is not None
        with Image.open(io.BytesIO(request.init.read())) as before, Image.open(io.BytesIO(content)) as after:
            same = ImageChops.difference(before.convert("RGB"), after.convert("RGB")).getbbox() is None
        return "nothing found, picture unchanged" if same else ""

    def infotext(self, request: Request, answered: str) -> str:
        """With ``skip_img2img`` it answers "Steps: 1, Size: 128x128": the input's infotext, with ADetailer's part."""
        assert request.init is not None
        start = answered.find("ADetailer model")
        added = answered[start:].partition(", Version: ")[0] if start >= 0 else ""
        return ", ".join(part for part in (infotext.read(request.init.read()), added) if part)


ADETAILER = ADetailerStage()
