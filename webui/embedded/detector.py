"""Finds faces in pixels, for the embedded ADetailer: scikit-image's trained frontal-face cascade."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageOps

Box = tuple[float, float, float, float]
_SMALLEST_FACE = 44  # pixels, after scaling; the cascade was trained on 24
# Short sides that a picture is looked at in, plain and mirrored: a face is seen in most of these views, a
# cloud that resembles one in few. The confidence is the square of their share, so 2 of 4 stay below 0.3.
_VIEWS = ((400, False), (360, True), (330, False), (300, True))


@dataclass(frozen=True)
class Face:
    box: tuple[int, int, int, int]  # left, top, right, bottom, in pixels
    confidence: float  # 0 to 1


def find_faces(image: Image.Image, confidence: float = 0.3) -> list[Face]:
    """Faces seen from the front, the surest first, none below `confidence`."""
    grey = image.convert("L")
    groups: list[list[Box]] = []
    for side, mirrored in _VIEWS:
        seen: set[int] = set()
        for box in _look(grey, side, mirrored):
            home = next((i for i, group in enumerate(groups) if _overlap(group[0], box) > 0.3), len(groups))
            if home == len(groups):
                groups.append([])
            if home not in seen:  # one vote for each view
                groups[home].append(box)
                seen.add(home)
    faces = [
        Face(_bounds(np.median(group, 0), image.size), round(0.98 * (len(group) / len(_VIEWS)) ** 2, 2))
        for group in groups
    ]
    return sorted((face for face in faces if face.confidence >= confidence), key=lambda face: -face.confidence)


def _look(grey: Image.Image, side: int, mirrored: bool) -> list[Box]:
    scale = side / min(grey.size)
    size = round(grey.width * scale), round(grey.height * scale)
    view = grey.resize(size, Image.Resampling.BICUBIC)
    hits = _cascade().detect_multi_scale(
        img=np.asarray(ImageOps.mirror(view) if mirrored else view),
        scale_factor=1.15,
        step_ratio=1,
        min_size=(_SMALLEST_FACE, _SMALLEST_FACE),
        max_size=(min(size), min(size)),
        min_neighbor_number=7,
    )
    boxes = []
    for hit in sorted(hits, key=lambda hit: -hit["width"]):
        left = size[0] - hit["c"] - hit["width"] if mirrored else hit["c"]
        box = left, hit["r"], left + hit["width"], hit["r"] + hit["height"]
        boxes.append(tuple(edge / scale for edge in box))
    return boxes


def _overlap(a: Box, b: Box) -> float:
    """The shared area, in parts of the smaller box."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    tall = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(wide, 0) * max(tall, 0) / smaller


def _bounds(box: Any, size: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(float(edge)) for edge in box)
    return max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])


@cache
def _cascade() -> Any:
    from skimage import data  # imported here: it takes a while, and a run without ADetailer needs none of it
    from skimage.feature import Cascade

    return Cascade(data.lbp_frontal_face_cascade_filename())
