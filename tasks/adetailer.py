"""The third stage: find faces (or whatever its models find) and repaint them in more detail.

ADetailer hides its failures: an unknown model, a field that its schema does not know, nothing found: all are
answered with 200. So its arguments are checked against its own schema before the run (preflight), and what it did
is read from the pixels: with ``skip_img2img`` it acted if and only if they differ from the input.
"""

from __future__ import annotations

from typing import Any

from gpu.request import Request
from pictures.checks import Painted, is_same
from store.picture import Picture, decoded
from tasks.form import StageForm, extra_field, field
from tasks.inventory import Inventory
from tasks.stage import Item, Settings, Stage, Step
from webui import infotext as infotexts
from webui.errors import ADetailerIgnored, NotFound, WithoutEffect
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
        """With ``skip_img2img`` it acted if and only if the pixels differ; the infotext names it regardless."""
        assert request.init is not None
        if "ADetailer model" not in str(info.extra_generation_params):
            raise ADetailerIgnored(
                f"{request.title}: ADetailer dropped its arguments and the whole picture was repainted. "
                "Check the pass's extra fields against the WebUI's /adetailer/v1/schema"
            )
        before, said = decoded(request.init.read()), infotexts.parse(infotext)
        text = infotexts.read(before) or ""
        if is_same(before, painted.image):
            if request.must_change:
                raise WithoutEffect(
                    f"{request.title}: ADetailer found nothing, and the pass is required. Lower its confidence, "
                    "choose another model, or set `required` to false"
                )
            return "nothing found, picture unchanged", text
        if infotexts.parse(text).settings:
            own = {name: one for name, one in said.settings.items() if name.startswith(("ADetailer ", "Lora hashes"))}
            return "", infotexts.extended(text, own)
        # What is skipped is painted all the same, one step at 128 × 128 that nobody sees, and the infotext tells of it.
        asked = {"Steps": request.payload["steps"], "Sampler": request.payload["sampler_name"]}
        asked["Size"] = f"{before.width}x{before.height}"
        return "", infotexts.build(said.prompt, said.negative_prompt, {**said.settings, **asked})


ADETAILER = ADetailerStage()
