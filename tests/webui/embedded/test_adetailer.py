"""ADetailer: its arguments and marks as recorded, its effect in the pixels."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from webui.embedded.adetailer import (
    Unit,
    default_args,
    enabled_units,
    face_masks,
    infotext_of,
    prompts_for,
    wants_skip,
)
from webui.embedded.detector import Face
from webui.embedded.server import EmbeddedWebUI

PATIENCE = 60
SIZE = 256
FACE = "portrait of a woman, face"


# -- arguments -----------------------------------------------------------------------------------------


def laid_over_defaults(*given: Any) -> list[Any]:
    args = default_args()
    args[: len(given)] = given
    return args


def test_off_by_default() -> None:
    assert enabled_units(default_args()) == []


def test_two_booleans_and_a_unit() -> None:
    args = laid_over_defaults(True, True, {"ad_model": "mediapipe_face_full"})
    units = enabled_units(args)
    assert [unit.ad_model for unit in units] == ["mediapipe_face_full", "None", "None", "None"]
    assert wants_skip(args)


def test_a_lone_unit_is_joined_by_the_default_one() -> None:
    """Recorded: it takes the place of `enable`, and the default first unit stays behind it."""
    units = enabled_units(laid_over_defaults({"ad_model": "mediapipe_face_short"}))
    assert [unit.ad_model for unit in units][:2] == ["mediapipe_face_short", "mediapipe_face_full"]
    assert "ADetailer model 2nd" in infotext_of(units)


@pytest.mark.parametrize(
    "bad",
    [
        {"ad_denoising_strength": 5},
        {"ad_mask_k_largest": 1},
        {"ad_mask_only_top_k_largest": 1},
        {"skip_img2img": True},
        {"ad_prompt": None},
    ],
)
def test_what_the_schema_rejects_drops_the_unit(bad: dict[str, Any]) -> None:
    assert enabled_units(laid_over_defaults(True, True, {"ad_model": "mediapipe_face_full", **bad})) == []


def test_disabled_by_the_first_boolean_or_the_tab() -> None:
    unit = {"ad_model": "mediapipe_face_full"}
    assert enabled_units(laid_over_defaults(False, True, unit)) == []
    assert enabled_units(laid_over_defaults(True, True, {**unit, "ad_tab_enable": False})) == []


def test_prompts() -> None:
    assert prompts_for("", "a cat", 2) == ["a cat", "a cat"]
    assert prompts_for("old [SEP] [PROMPT], young", "a cat", 3) == ["old", "a cat, young", "a cat, young"]


# -- masks ---------------------------------------------------------------------------------------------

SMALL, LARGE = Face((10, 10, 30, 30), 0.9), Face((40, 40, 90, 90), 0.5)


def boxes(unit: Unit, *faces: Face) -> list[Any]:
    return [mask.getbbox() for mask in face_masks(faces, unit, (100, 100))]


def test_masks_cover_the_faces_and_what_dilation_adds() -> None:
    assert boxes(Unit(ad_dilate_erode=0), SMALL) == [(10, 10, 31, 31)]
    assert boxes(Unit(ad_dilate_erode=4), SMALL) == [(8, 8, 33, 33)]
    assert boxes(Unit(ad_dilate_erode=-4), SMALL) == [(12, 12, 29, 29)]
    assert boxes(Unit(ad_dilate_erode=0, ad_x_offset=5, ad_y_offset=3), SMALL) == [(15, 7, 36, 28)]


def test_filters() -> None:
    off = {"ad_dilate_erode": 0}
    assert len(boxes(Unit(**off), SMALL, LARGE)) == 2
    assert boxes(Unit(**off, ad_mask_k=1), SMALL, LARGE) == boxes(Unit(**off), LARGE)
    confident = Unit(**off, ad_mask_k=1, ad_mask_filter_method="Confidence")
    assert boxes(confident, SMALL, LARGE) == boxes(Unit(**off), SMALL)
    assert boxes(Unit(**off, ad_mask_min_ratio=0.1), SMALL, LARGE) == boxes(Unit(**off), LARGE)
    assert boxes(Unit(**off, ad_mask_max_ratio=0.1), SMALL, LARGE) == boxes(Unit(**off), SMALL)


def test_merge_and_invert() -> None:
    assert boxes(Unit(ad_mask_merge_invert="Merge"), SMALL, LARGE) == [(8, 8, 93, 93)]
    (inverted,) = face_masks([SMALL], Unit(ad_mask_merge_invert="Merge and Invert"), (100, 100))
    assert inverted.getpixel((0, 0)) == 255
    assert inverted.getpixel((20, 20)) == 0


# -- through the API -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedWebUI]:
    with EmbeddedWebUI(folder=tmp_path_factory.mktemp("webui")) as running:
        yield running


def post(server: EmbeddedWebUI, route: str, **body: Any) -> dict[str, Any]:
    answer = requests.post(f"{server.url}/sdapi/v1/{route}", json=body, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return answer.json()


def painted(server: EmbeddedWebUI, prompt: str) -> str:
    size = {"width": SIZE, "height": SIZE}
    return post(server, "txt2img", prompt=prompt, steps=12, seed=5, **size)["images"][0]


@pytest.fixture(scope="module")
def face(server: EmbeddedWebUI) -> str:
    return painted(server, FACE)


def pixels(encoded: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"), dtype=int)


def detailed(server: EmbeddedWebUI, image: str, args: list[Any], **changes: Any) -> dict[str, Any]:
    job = {"prompt": FACE, "steps": 4, "seed": 1, "width": SIZE, "height": SIZE, "sampler_name": "Euler"}
    job |= {"denoising_strength": 0.4, "init_images": [image], **changes}
    return post(server, "img2img", **job, alwayson_scripts={"ADetailer": {"args": args}})


UNIT = {"ad_model": "mediapipe_face_full", "ad_denoising_strength": 0.6}


def test_only_the_face_is_painted_again(server: EmbeddedWebUI, face: str) -> None:
    answer = detailed(server, face, [True, True, UNIT])
    before, after = pixels(face), pixels(answer["images"][0])
    changed = np.abs(before - after).max(axis=2) > 0
    assert changed.any()
    rows, columns = np.nonzero(changed)
    assert (np.ptp(rows) + 1) * (np.ptp(columns) + 1) < 0.8 * SIZE * SIZE
    info = json.loads(answer["info"])
    assert info["extra_generation_params"]["ADetailer model"] == "mediapipe_face_full"


def test_its_prompt_strength_and_steps_have_an_effect(server: EmbeddedWebUI, face: str) -> None:
    plain = detailed(server, face, [True, True, UNIT])["images"]
    assert detailed(server, face, [True, True, UNIT])["images"] == plain
    for change in ({"ad_prompt": "an old man, face"}, {"ad_denoising_strength": 0.2}):
        assert detailed(server, face, [True, True, {**UNIT, **change}])["images"] != plain
    same = pixels(detailed(server, face, [True, True, {**UNIT, "ad_denoising_strength": 0}])["images"][0])
    assert np.abs(same - pixels(face)).mean() < 1  # enlarged and shrunk again, nothing painted


def test_nothing_found_leaves_the_picture_and_marks_it_all_the_same(server: EmbeddedWebUI) -> None:
    sea = painted(server, "a calm sea at dawn")
    answer = detailed(server, sea, [True, True, UNIT])
    assert (pixels(sea) == pixels(answer["images"][0])).all()
    assert "ADetailer model: mediapipe_face_full" in json.loads(answer["info"])["infotexts"][0]


def test_an_unknown_model_does_nothing_and_is_named(server: EmbeddedWebUI, face: str) -> None:
    answer = detailed(server, face, [True, True, {**UNIT, "ad_model": "face_yolov8n.pt"}])
    assert (pixels(face) == pixels(answer["images"][0])).all()
    assert "ADetailer model: face_yolov8n.pt" in json.loads(answer["info"])["infotexts"][0]


def test_an_invalid_argument_repaints_the_whole_picture(server: EmbeddedWebUI, face: str) -> None:
    answer = detailed(server, face, [True, True, {**UNIT, "ad_denoising_strength": 5}])
    assert "ADetailer" not in answer["info"]
    assert (np.abs(pixels(face) - pixels(answer["images"][0])).max(axis=2) > 0).mean() > 0.8


def test_txt2img_is_detailed_too(server: EmbeddedWebUI) -> None:
    job = {"prompt": FACE, "steps": 12, "seed": 5, "width": SIZE, "height": SIZE}
    scripts = {"ADetailer": {"args": [True, False, UNIT]}}
    plain = post(server, "txt2img", **job)["images"][0]
    answer = post(server, "txt2img", **job, alwayson_scripts=scripts)
    assert answer["images"][0] != plain
    assert f"Size: {SIZE}x{SIZE}" in json.loads(answer["info"])["infotexts"][0]


def test_its_passes_count_as_jobs(server: EmbeddedWebUI, face: str) -> None:
    """Recorded: job_count grows from 1 to 2 when the face is found, and both passes are done at the end."""
    detailed(server, face, [True, True, UNIT])
    assert server.state.job_no == 2
