"""A sweep's cells: every combination once, in order, and a slip is refused."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from variations.sweep import MOST_CELLS, as_axes, cells

JOB: dict[str, Any] = {
    "checkpoint": "photo",
    "txt2img": {"prompt": "a boat at sunset", "seed": 7},
    "adetailer": [{"ad_model": "face"}],
}


def swept(**sweep: Any) -> list[dict[str, Any]]:
    return cells(JOB | {"sweep": as_axes(sweep)})


def test_x_changes_first_then_y_then_z() -> None:
    found = [one["cell"] for one in swept(cfg_scale=[5, 7], checkpoint=["photo", "oil"], seed="1..2")]
    assert [tuple(one.values()) for one in found] == [
        (x, y, z) for z in ("1", "2") for y in ("photo", "oil") for x in ("5", "7")
    ]
    assert [*found[0]] == ["cfg_scale", "checkpoint", "seed"]


def test_a_cell_is_the_job_with_its_values_and_no_sweep() -> None:
    before = {**JOB, "txt2img": {**JOB["txt2img"]}}
    one = swept(**{"checkpoint": ["oil"], "steps": [3], "adetailer.0.ad_prompt": ["a face"]})[0]
    assert one == {
        "checkpoint": "oil",
        "txt2img": {"prompt": "a boat at sunset", "seed": 7, "steps": "3"},
        "adetailer": [{"ad_model": "face", "ad_prompt": "a face"}],
        "cell": {"checkpoint": "oil", "steps": "3", "adetailer.0.ad_prompt": "a face"},
    }
    assert before == JOB
    assert cells(JOB) == [JOB]


def test_search_and_replace() -> None:
    found = swept(prompt={"search": "sunset", "values": ["sunset", "dawn"]})
    assert [one["txt2img"]["prompt"] for one in found] == ["a boat at sunset", "a boat at dawn"]
    assert found[1]["cell"] == {"prompt “sunset”": "dawn"}
    two = swept(
        **{"prompt": {"search": "boat", "values": ["ship"]}, "txt2img.prompt": {"search": "a", "values": ["b"]}}
    )
    assert two[0]["txt2img"]["prompt"] == "b ship bt sunset"


@pytest.mark.parametrize(
    ("values", "are"),
    [
        ("1..3", ["1", "2", "3"]),
        ("0.2..0.6..0.2", ["0.2", "0.4", "0.6"]),
        ("-1..1", ["-1", "0", "1"]),
        ("1..4..2", ["1", "3"]),
        ([7, "1..2", True, "a..b"], ["7", "1", "2", "True", "a..b"]),
        ("5", ["5"]),
    ],
)
def test_ranges_are_exact(values: Any, are: list[str]) -> None:
    assert [one["cell"]["x"] for one in swept(x=values)] == are


@pytest.mark.parametrize(
    ("sweep", "says"),
    [
        ({"a": [1], "b": [1], "c": [1], "d": [1]}, "4 axes: at most 3"),
        ({"a": "1..10", "b": "1..10", "c": "1..10"}, "10 × 10 × 10 = 1000: at most 500"),
        ({"a": "1..999999999999"}, "has 999999999999 values: at most 500"),
        ({"a": "1..2..0"}, "step above 0"),
        ({"a": "2..1"}, "upwards"),
        ({"a": []}, "no values"),
        ({"a": [1, 2, 1]}, "has 1 twice"),
        ({"prompt": {"search": "dog", "values": ["cat"]}}, "'dog', which does not stand in prompt: 'a boat"),
        ({"upscale.factor": [2]}, "the job has no upscale"),
        ({"adetailer.1.ad_prompt": ["x"]}, "the job has no 1"),
    ],
)
def test_a_slip_is_refused(sweep: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        swept(**sweep)


AXES = st.lists(st.lists(st.integers(-9, 9), min_size=1, max_size=9, unique=True), min_size=1, max_size=3)


@given(axes=AXES)
def test_every_combination_is_there_once(axes: list[list[int]]) -> None:
    sweep = dict(zip("abc", axes, strict=False))
    if (count := prod(map(len, axes))) > MOST_CELLS:
        with pytest.raises(ValueError, match="at most"):
            swept(**sweep)
        return
    found = [tuple(one["cell"].values()) for one in swept(**sweep)]
    assert len(set(found)) == len(found) == count
