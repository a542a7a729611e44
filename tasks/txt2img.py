"""The first stage: pictures from a prompt."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from gpu.request import Request
from tasks.form import Side, StageForm, extra_field, field
from tasks.inventory import Inventory
from tasks.sampling import Sampling
from tasks.stage import Item, Settings, Size, Stage, Step, bounded


class Txt2Img(Sampling, StageForm):
    """Pictures from a prompt."""

    width: Side = field(512, "Width", "Pixels, a multiple of 8.", 8)
    height: Side = field(512, "Height", "Pixels, a multiple of 8.", 9)
    enable_hr: bool = field(False, "Hires fix", "Paint small first, then larger.", 20)
    hr_scale: float = field(2.0, "Hires: upscale by", "1 to 4.", 21, ge=1, le=4)
    hr_upscaler: str = field("Latent", "Hires: upscaler", "As the WebUI lists it.", 22)
    hr_second_pass_steps: int = field(0, "Hires: steps", "0 uses the sampling steps.", 23, ge=0, le=150)
    denoising_strength: float = field(
        0.5, "Hires: denoising strength", "How much the second pass repaints, 0 to 1.", 24, ge=0, le=1
    )
    extra: dict[str, Any] = extra_field('{"tiling": true}')

    @model_validator(mode="after")
    def _bounded(self) -> Txt2Img:
        bounded(self.size, "hires fix")
        return self

    @property
    def size(self) -> Size:
        """Width and height in pixels of the finished picture."""
        scale = self.hr_scale if self.enable_hr else 1
        return int(self.width * scale), int(self.height * scale)

    def hires_payload(self) -> dict[str, Any]:
        """The API's fields for the hires fix; none when it is off."""
        if not self.enable_hr:
            return {}
        names = {name for name in Txt2Img.model_fields if name.startswith("hr_")} | {"enable_hr", "denoising_strength"}
        # Forge answers 500 to a hires fix that does not name its modules.
        return self.model_dump(include=names) | {"hr_additional_modules": ["Use same choices"]}


class Txt2ImgStage(Stage[Txt2Img]):
    name = "txt2img"
    endpoint = "txt2img"

    def settings(self, form: Txt2Img, before: Settings) -> Settings:
        wide, high = form.size
        # A latent has multiples of 8 only, and the WebUI rounds down to one.
        return Settings(before.sampling.changed_by(form), before.checkpoint, (wide // 8 * 8, high // 8 * 8))

    def look_up(self, step: Step[Txt2Img], inventory: Inventory) -> None:
        fields = step.settings.sampling.payload() | step.form.hires_payload()
        inventory.payload(self.endpoint, fields, step.form.extra)

    def requests(self, step: Step[Txt2Img], item: Item) -> list[Request]:
        """The requests for the job's pictures, ``batch_size`` in each, picture i (from 0) with ``seed + i``."""
        form, images, most = step.form, item.job.images, item.job.batch_size
        sized = {"width": form.width, "height": form.height}
        payload = form.with_extra(item.payload(step) | sized | form.hires_payload())
        return [
            Request(
                stage=self.name,
                endpoint="txt2img",
                first=start + 1,
                of=images,
                seeds=tuple(range(form.seed + start, form.seed + min(start + most, images))),
                size=form.size,
                payload=payload | {"seed": form.seed + start, "batch_size": min(most, images - start)},
                checkpoint=item.checkpoint(step),
            )
            for start in range(0, images, most)
        ]


TXT2IMG = Txt2ImgStage()
