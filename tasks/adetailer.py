"""The third stage: find faces (or whatever its models find) and repaint them in more detail.

ADetailer swallows its failures: an unknown model, a field that its schema does not know, nothing found: all are
answered with 200. So its arguments are checked against its own schema before the run (preflight), and what it did
is read from the pixels: with ``skip_img2img`` it acted if and only if they differ from the input.
"""

from __future__ import annotations

from typing import Any

from prefect import task

from gpu.request import Picture, Request
from gpu.sender import Sender
from tasks.form import Form, extra_field, field
from tasks.paint import PAINTING, paint
from tasks.txt2img import Txt2Img


class ADetailerPass(Form):
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
        """The unit as ADetailer's schema names it."""
        return {**self.model_dump(exclude={"extra"}), **self.extra}


def adetailer_requests(
    passes: list[ADetailerPass],
    sampling: Txt2Img,
    standing: dict[str, Any],
    checkpoint: Any,
    pictures: list[Picture],
) -> list[Request]:
    """One request for each of ``pictures``: every pass, and nothing but the passes."""
    words = sampling.payload(standing)
    # The two leading booleans are "enabled" and "skip img2img"; inside a pass the latter would do nothing.
    script = {"ADetailer": {"args": [True, True, *(one.arguments() for one in passes)]}}
    return [
        Request(
            stage="adetailer",
            endpoint="img2img",
            first=number + 1,
            of=len(pictures),
            seeds=(picture.seed,),
            size=(picture.width, picture.height),
            payload=words
            | {
                "denoising_strength": passes[0].ad_denoising_strength,
                "width": picture.width,
                "height": picture.height,
                "seed": picture.seed,
                "batch_size": 1,
                "alwayson_scripts": words.get("alwayson_scripts", {}) | script,
            },
            checkpoint=checkpoint,
            init=picture,
        )
        for number, picture in enumerate(pictures)
    ]


@task(name="adetailer", **PAINTING)
def adetailer(request: Request, sender: Sender) -> list[Picture]:
    """Repaint what the passes find in one picture."""
    return paint(request, sender)
