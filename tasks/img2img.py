"""The second stage: pictures from pictures."""

from __future__ import annotations

from typing import Any

from prefect import task
from pydantic import model_validator

from gpu.request import Picture, Request, with_extra
from gpu.sender import Sender
from tasks.form import LARGEST_RESULT, LARGEST_SEED, Form, Side, extra_field, field
from tasks.paint import PAINTING, paint
from tasks.txt2img import Txt2Img


class Img2Img(Form):
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

    def sampling(self, txt2img: Txt2Img | None) -> Txt2Img:
        """This stage's sampling settings: its own, else those of ``txt2img``, else the defaults."""
        own = {
            name: value
            for name in Txt2Img.model_fields
            if name not in ("width", "height", "denoising_strength", "extra")
            and (value := getattr(self, name, None)) is not None
        }
        inherited = txt2img.model_dump(exclude={"extra", "enable_hr"}) if txt2img else {"prompt": ""}
        return Txt2Img.model_validate(inherited | own)

    def resized(self, wide: int, high: int) -> tuple[int, int]:
        """Width and height in pixels that a picture of ``wide`` × ``high`` becomes, as multiples of 8.

        Raises:
            ValueError: larger than the bound of 8192 pixels a side.
        """
        if self.width is not None and self.height is not None:
            return self.width, self.height
        factor = self.resize or 1.0
        size = _multiple_of_8(wide * factor), _multiple_of_8(high * factor)
        if max(size) > LARGEST_RESULT:
            raise ValueError(
                f"img2img of {wide}×{high} would make {size[0]}×{size[1]}: "
                f"at most {LARGEST_RESULT} pixels a side; give a smaller resize, or width and height"
            )
        return size


def img2img_requests(
    form: Img2Img,
    sampling: Txt2Img,
    standing: dict[str, Any],
    checkpoint: Any,
    pictures: list[Picture],
) -> list[Request]:
    """One request for each of ``pictures``, with its own seed; with this form's ``seed + i`` if it has one."""
    words = sampling.payload(standing)
    masked: dict[str, Any] = {}
    if form.mask is not None:
        masked = form.model_dump(include={"mask_blur", "inpaint_full_res", "inpaint_full_res_padding"})
        masked["inpainting_fill"] = 1  # start from what is there, as the WebUI's page does by default
    requests = []
    for number, picture in enumerate(pictures):
        width, height = form.resized(picture.width, picture.height)
        seed = picture.seed if form.seed is None else form.seed + number
        own = {
            "denoising_strength": form.denoising_strength,
            "width": width,
            "height": height,
            "seed": seed,
            "batch_size": 1,
        }
        requests.append(
            Request(
                stage="img2img",
                endpoint="img2img",
                first=number + 1,
                of=len(pictures),
                seeds=(seed,),
                size=(width, height),
                payload=with_extra(words | masked | own, form.extra),
                checkpoint=checkpoint,
                init=picture,
                mask=form.mask,
            )
        )
    return requests


@task(name="img2img", **PAINTING)
def img2img(request: Request, sender: Sender) -> list[Picture]:
    """Repaint one picture."""
    return paint(request, sender)


def _multiple_of_8(pixels: float) -> int:
    return max(64, round(pixels / 8) * 8)
