"""The bar goes forward only, and the countdown goes down."""

import pytest

from gpu.progress import ALMOST, Bar, Reading
from gpu.request import Request


def shown(bar: Bar, *readings: tuple[float, int]) -> list[float]:
    told = []
    for done, jobs in readings:
        bar.read(Reading(done, jobs))
        told.append(round(bar.shown, 4))
    return told


def test_a_step_back_is_ignored() -> None:
    assert shown(Bar(), (0.2, 1), (0.1, 1), (0.5, 1)) == [0.2, 0.2, 0.5]


@pytest.mark.parametrize("nonsense", [-3.0, 7.0, float("inf"), float("nan")])
def test_a_reading_is_clamped(nonsense: float) -> None:
    assert 0 <= shown(Bar(), (nonsense, 1))[0] <= ALMOST


def test_the_bar_is_not_full_before_the_request_has_returned() -> None:
    assert shown(Bar(), (1.0, 1)) == [ALMOST]


@pytest.mark.parametrize("passes", [(1.0,), (1.0, 1.0, 1.0), (0.0, 1.0, 1.0)])
def test_adetailers_growing_job_count_moves_the_bar_neither_back_nor_to_the_end(passes: tuple[float, ...]) -> None:
    # As recorded: one job to its end, then a second one is found: the WebUI's own bar falls from 1.0 to 0.51.
    bar = shown(Bar(passes), (0.5, 1), (1.0, 1), (1.02, 2), (1.5, 2), (2.0, 2), (2.01, 3), (3.0, 3))
    assert bar == sorted(bar)
    assert bar[-1] <= ALMOST
    if passes == (1.0, 1.0, 1.0):
        assert len(set(bar)) == len(bar), "each pass moves the bar"
    if passes[0] == 0:
        assert bar[:2] == [0, 0], "with skip_img2img nothing is painted before a pass has found something"


def test_a_pass_that_nobody_expected_counts_as_one() -> None:
    assert shown(Bar(), (0.5, 2), (1.5, 2)) == [0.25, 0.75]


@pytest.mark.parametrize(
    ("args", "passes"),
    [
        ([True, True, {"ad_model": "face"}, {"ad_model": "hand"}], (0.0, 1.0, 1.0)),
        ([{"ad_model": "face"}], (1.0, 1.0)),
        ([True, False, {"ad_model": "face"}], (1.0, 1.0)),
    ],
)
def test_a_request_tells_which_passes_it_may_have(args: list[object], passes: tuple[float, ...]) -> None:
    payload = {"alwayson_scripts": {"ADetailer": {"args": args}}}
    fields = {"stage": "adetailer", "endpoint": "img2img", "first": 1, "of": 1, "seeds": (1,), "size": (64, 64)}
    assert Request.model_validate({**fields, "payload": payload}).passes == passes
    assert Request.model_validate({**fields, "payload": {}}).passes == (1.0,)


def test_what_is_left_comes_from_the_pace_since_the_first_step_and_counts_down() -> None:
    now = [0.0]
    bar = Bar(clock=lambda: now[0])

    def left(at: float, done: float) -> float | None:
        now[0] = at
        bar.read(Reading(done))
        return None if bar.seconds_left is None else round(bar.seconds_left, 6)

    assert left(30, 0) is None, "a model is loaded"
    assert left(60, 0.1) is None
    assert left(60.1, 0.12) is None, "too early to tell"
    assert left(64, 0.5) == 5
    assert left(66, 0.5) == 3, "the same step"
    assert left(80, 0.5) == 0
    assert left(80, 0.6) == 16
