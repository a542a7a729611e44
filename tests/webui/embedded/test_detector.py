"""Faces are found in the pixels that the painter paints, and nowhere else."""

import pytest
from PIL import Image

pytest.importorskip("skimage")

from webui.embedded.detector import find_faces
from webui.embedded.painter import Brief, paint

SIZES = [(256, 256), (512, 512), (384, 512), (512, 320), (96, 96)]


def picture(prompt: str, **brief: object) -> Image.Image:
    *_, last = paint(Brief(prompt, steps=5, sampler_name="DPM++ 2M", **brief))  # type: ignore[arg-type]  # any of its fields
    return last.image()


@pytest.mark.parametrize("checkpoint", ["", "photo", "oil", "watercolour", "ink"])
@pytest.mark.parametrize("prompt", ["portrait of a woman", "a man on a beach", "face"])
def test_a_face_is_found_where_one_was_asked_for(prompt: str, checkpoint: str) -> None:
    number = len(prompt) + len(checkpoint)
    width, height = SIZES[number % 4]
    image = picture(prompt, checkpoint=checkpoint, seed=number, width=width, height=height)
    left, top, right, bottom = find_faces(image)[0].box
    assert 0 <= left < 0.5 * width < right <= width
    assert 0 <= top < bottom <= height
    assert right - left > 0.15 * min(width, height)


def test_a_small_picture_is_enough() -> None:
    assert find_faces(picture("portrait of a woman", width=64, height=64))


@pytest.mark.parametrize("prompt", ["a mountain lake at dusk", "a cat", "a city at night", "a lighthouse by the sea"])
def test_no_face_is_found_where_none_was_asked_for(prompt: str) -> None:
    for seed, (width, height) in enumerate(SIZES[:2]):
        assert find_faces(picture(prompt, seed=seed, width=width, height=height)) == []


def test_confidence_is_a_threshold_and_orders_the_faces() -> None:
    image = picture("a girl on a beach at sunset", width=512, height=512, seed=3)
    faces = find_faces(image, confidence=0.0)
    assert faces
    assert faces == sorted(faces, key=lambda face: -face.confidence)
    assert all(0 < face.confidence <= 1 for face in faces)
    assert find_faces(image, confidence=1.0) == []


def test_a_face_painted_into_a_mask_is_found_there() -> None:
    meadow = picture("a meadow at noon", width=256, height=256)
    mask = Image.new("L", meadow.size)
    mask.paste(255, (120, 90, 240, 210))
    image = picture("a woman", width=256, height=256, init_image=meadow, denoising_strength=0.8, mask=mask)
    left, top, right, bottom = find_faces(image, confidence=0.2)[0].box
    assert 120 < (left + right) / 2 < 240
    assert 90 < (top + bottom) / 2 < 210
