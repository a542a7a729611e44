"""The last stage: more pixels."""

from __future__ import annotations

from typing import Any

from prefect import task

from gpu.request import Picture, Request, with_extra
from gpu.sender import Sender
from tasks.form import LARGEST_RESULT, Form, extra_field, field
from tasks.paint import PAINTING, paint


class Upscale(Form):
    """Enlarge each picture."""

    upscaler: str = field(..., "Upscaler", "As the WebUI lists it, such as Lanczos or R-ESRGAN 4x+.", 1)
    factor: float = field(2.0, "Factor", "1 to 8.", 2, ge=1, le=8)
    extra: dict[str, Any] = extra_field('{"codeformer_visibility": 0.5}')


def upscale_requests(form: Upscale, pictures: list[Picture]) -> list[Request]:
    """One request for each of ``pictures``.

    Raises:
        ValueError: a picture would become larger than the bound of 8192 pixels a side.
    """
    requests = []
    for number, picture in enumerate(pictures):
        size = (int(picture.width * form.factor), int(picture.height * form.factor))
        if max(size) > LARGEST_RESULT:
            raise ValueError(
                f"upscaling {picture.width}×{picture.height} by {form.factor:g} would make {size[0]}×{size[1]}: "
                f"at most {LARGEST_RESULT} pixels a side"
            )
        payload = {"upscaler_1": form.upscaler, "upscaling_resize": form.factor, "resize_mode": 0}
        requests.append(
            Request(
                stage="upscale",
                endpoint="extra-single-image",
                first=number + 1,
                of=len(pictures),
                seeds=(picture.seed,),
                size=size,
                payload=with_extra(payload, form.extra),
                init=picture,
            )
        )
    return requests


@task(name="upscale", **PAINTING)
def upscale(request: Request, sender: Sender) -> list[Picture]:
    """Enlarge one picture."""
    return paint(request, sender)
