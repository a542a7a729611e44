"""The second stage: pictures from pictures."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from store.picture import Picture
from tasks.form import LARGEST_SEED, Side, StageForm, extra_field, field
from tasks.inventory import Inventory
from tasks.stage import Item, Settings, Size, Stage, Step, bounded


class Img2Img(StageForm):
    """Repaint each picture. What is left empty is taken from txt2img."""

    denoising_strength: float = field(0.5, "Denoising strength", "0 keeps the picture, 1 ignores it.", 1, ge=0, le=1)
    resize: float | None = field(None, "Resize by", "A factor, 0.25 to 4; or give width and height.", 2, ge=0.25, le=4)
    width: Side | None = field(None, "Width", "Pixels, a multiple of 8.", 3)
    height: Side | None = field(None, "Height", "Pixels, a multiple of 8.", 4)
    checkpoint: str | None = field(None, "Checkpoint", "Another checkpoint for this stage.", 5)
    prompt: str | None = field(None, "Prompt", "Another prompt for this stage.", 6)
    negative_prompt: str | None = field(None, "Negative prompt", "What to keep out.", 7)
    styles: list[str] | None = field(None, "Styles", "Names of the WebUI's saved prompt styles.", 8)
    steps: int | None = field(None, "Sampling steps", "1 to 150.", 9, ge=1, le=150)
    sampler_name: str | None = field(None, "Sampler", "As the WebUI lists it.", 10)
    scheduler: str | None = field(None, "Schedule type", "As the WebUI lists it.", 11)
    cfg_scale: float | None = field(None, "CFG scale", "1 to 30.", 12, ge=1, le=30)
    seed: int | None = field(
        None, "Seed", "Empty: txt2img's. −1 draws one. Picture i uses seed + i.", 13, ge=-1, le=LARGEST_SEED
    )
    clip_skip: int | None = field(None, "CLIP skip", "1 uses the last layer.", 14, ge=1, le=12)
    mask: str | None = field(None, "Mask", "A picture file; white is repainted, black is kept.", 20)
    mask_blur: int = field(4, "Mask blur", "Pixels, 0 to 64.", 21, ge=0, le=64)
    inpaint_full_res: bool = field(False, "Only masked", "Paint the masked part at full resolution.", 22)
    inpaint_full_res_padding: int = field(32, "Only masked: padding", "Pixels around the mask.", 23, ge=0, le=256)
    extra: dict[str, Any] = extra_field('{"resize_mode": 1}')

    @model_validator(mode="after")
    def _one_size(self) -> Img2Img:
        if (self.width is None) != (self.height is None):
            raise ValueError("give both width and height, or neither")
        if self.resize is not None and self.width is not None:
            raise ValueError("give either resize, or width and height")
        return self

    def resized(self, wide: int, high: int) -> Size:
        """Width and height in pixels that a picture of ``wide`` × ``high`` becomes, as multiples of 8.

        Raises:
            ValueError: larger than the bound of 8192 pixels a side.
        """
        if self.width is not None and self.height is not None:
            return self.width, self.height
        factor = self.resize or 1.0
        size = _multiple_of_8(wide * factor), _multiple_of_8(high * factor)
        return bounded(size, f"img2img of {wide}×{high}")

    def mask_payload(self) -> dict[str, Any]:
        """The API's fields for the mask; none where there is no mask."""
        if self.mask is None:
            return {}
        masked = self.model_dump(include={"mask_blur", "inpaint_full_res", "inpaint_full_res_padding"})
        return masked | {"inpainting_fill": 1}  # start from what is there, as the WebUI's page does by default


class Img2ImgStage(Stage[Img2Img]):
    name = "img2img"
    endpoint = "img2img"
    files = ("mask",)

    def settings(self, form: Img2Img, before: Settings) -> Settings:
        size = form.resized(*before.size) if before.size is not None else None
        return Settings(before.sampling.changed_by(form), form.checkpoint or before.checkpoint, size)

    def weight(self, step: Step[Img2Img]) -> float:
        """A WebUI takes only the part of the steps that the denoising strength says."""
        return max(1, round(step.settings.sampling.steps * step.form.denoising_strength))

    def look_up(self, step: Step[Img2Img], inventory: Inventory) -> None:
        inventory.payload(self.endpoint, step.settings.sampling.payload(), step.form.extra)

    def fields(self, step: Step[Img2Img], item: Item, number: int, picture: Picture) -> dict[str, Any]:
        """The picture's own seed; this form's ``seed + i`` if it has one."""
        form = step.form
        width, height = form.resized(picture.width, picture.height)
        seed = picture.seed if form.seed is None else form.seed + number
        own = {"denoising_strength": form.denoising_strength, "width": width, "height": height}
        own |= {"seed": seed, "batch_size": 1}
        payload = form.with_extra(item.payload(step) | form.mask_payload() | own)
        return {"payload": payload, "seeds": (seed,), "size": (width, height), "mask": form.mask}


IMG2IMG = Img2ImgStage()


def _multiple_of_8(pixels: float) -> int:
    return max(64, round(pixels / 8) * 8)
