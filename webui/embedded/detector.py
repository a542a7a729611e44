"""Finds faces in pixels, for the embedded ADetailer: scikit-image's trained frontal-face cascade."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

_SMALLEST_FACE = 40  # pixels, after scaling; the cascade was trained on 24
_WORKING_SIDE = (
    400  # short side that a picture is scaled to: small faces become visible, large pictures cheap
)


@dataclass(frozen=True)
class Face:
    box: tuple[int, int, int, int]  # left, top, right, bottom, in pixels
    confidence: float  # 0 to 1


def find_faces(image: Image.Image, confidence: float = 0.3) -> list[Face]:
    """Faces seen from the front, the surest first, none below `confidence`."""
    scale = _WORKING_SIDE / min(image.size)
    scaled = image.convert("L").resize(
        [max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC
    )
    found = _cascade().detect_multi_scale(
        img=np.asarray(scaled),
        scale_factor=1.15,
        step_ratio=1,
        min_size=(_SMALLEST_FACE, _SMALLEST_FACE),
        max_size=(min(scaled.size), min(scaled.size)),
        min_neighbor_number=4,
    )
    faces = []
    for hit in found:
        left, top = hit["c"] / scale, hit["r"] / scale
        right, bottom = left + hit["width"] / scale, top + hit["height"] / scale
        faces.append(
            Face(
                (round(left), round(top), min(round(right), image.width), min(round(bottom), image.height)),
                0.9,
            )
        )
    return faces


@cache
def _cascade() -> Any:
    from skimage import data  # imported here: it takes seconds, and a run without ADetailer needs none of it
    from skimage.feature import Cascade

    return Cascade(data.lbp_frontal_face_cascade_filename())
