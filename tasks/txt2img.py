"""The first stage: pictures from words."""

from __future__ import annotations

from typing import Any

from prefect import task
from pydantic import model_validator

from gpu.request import Picture, Request, with_extra
from gpu.sender import Sender
from tasks.form import LARGEST_RESULT, LARGEST_SEED, Form, Side, extra_field, field
from tasks.paint import PAINTING, paint


class Txt2Img(Form):
    """Pictures from words."""

    prompt: str = field(..., "Prompt", "What to paint. Styles and <lora:name:1> are checked before the run.", 1)
    negative_prompt: str = field("", "Negative prompt", "What to keep out.", 2)
    styles: list[str] = field([], "Styles", "Names of the WebUI's saved prompt styles.", 3)
    steps: int = field(20, "Sampling steps", "1 to 150; 20 to 30 are usual.", 4, ge=1, le=150)
    sampler_name: str = field("Euler a", "Sampler", "As the WebUI lists it, such as DPM++ 2M.", 5)
    scheduler: str = field("Automatic", "Schedule type", "As the WebUI lists it, such as Karras.", 6)
    cfg_scale: float = field(7.0, "CFG scale", "How strictly to follow the prompt, 1 to 30.", 7, ge=1, le=30)
    width: Side = field(512, "Width", "Pixels, a multiple of 8.", 8)
    height: Side = field(512, "Height", "Pixels, a multiple of 8.", 9)
    seed: int = field(
        -1, "Seed", "−1 draws one, which is recorded. Picture i uses seed + i.", 10, ge=-1, le=LARGEST_SEED
    )
    clip_skip: int = field(1, "CLIP skip", "1 uses the last layer.", 11, ge=1, le=12)
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
        if max(self.size) > LARGEST_RESULT:
            raise ValueError(f"hires fix would make {self.size[0]}×{self.size[1]}: at most {LARGEST_RESULT} a side")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the finished picture."""
        scale = self.hr_scale if self.enable_hr else 1
        return int(self.width * scale), int(self.height * scale)

    def payload(self, standing: dict[str, Any]) -> dict[str, Any]:
        """The API's fields, save for seed and batch size."""
        skipped = {"extra", "seed", "clip_skip"}
        if not self.enable_hr:
            skipped |= {name for name in type(self).model_fields if name.startswith("hr_")}
            skipped |= {"enable_hr", "denoising_strength"}
        payload = self.model_dump(exclude=skipped) | standing
        if self.enable_hr:
            # Forge answers 500 to a hires fix that does not name this.
            payload["hr_additional_modules"] = ["Use same choices"]
        return with_extra(payload, self.extra)


def txt2img_requests(
    form: Txt2Img, standing: dict[str, Any], checkpoint: Any, *, images: int, batch_size: int
) -> list[Request]:
    """The requests for ``images`` pictures, ``batch_size`` in each, picture i (from 0) with ``seed + i``."""
    seed = form.seed
    payload = form.payload(standing)
    return [
        Request(
            stage="txt2img",
            endpoint="txt2img",
            first=start + 1,
            of=images,
            seeds=tuple(range(seed + start, seed + min(start + batch_size, images))),
            size=form.size,
            payload=payload | {"seed": seed + start, "batch_size": min(batch_size, images - start)},
            checkpoint=checkpoint,
        )
        for start in range(0, images, batch_size)
    ]


@task(name="txt2img", **PAINTING)
def txt2img(request: Request, sender: Sender) -> list[Picture]:
    """Paint one request's pictures."""
    return paint(request, sender)
