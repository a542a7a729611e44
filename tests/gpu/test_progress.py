"""The bar goes forward only, and the countdown goes down."""

import pytest

from gpu.progress import ALMOST, Reading, RequestBar
from gpu.request import Request


def shown(bar: RequestBar, *readings: tuple[float, int]) -> list[float]:
    told = []
    for fraction, jobs in readings:
        bar.read(Reading(fraction, jobs=jobs))
        told.append(round(bar.shown, 4))
    return told


def left(bar: RequestBar, fraction: float, eta: float | None) -> float | None:
    bar.read(Reading(fraction, eta))
    return bar.seconds_left


def test_a_step_back_is_ignored() -> None:
    assert shown(RequestBar(), (0.2, 1), (0.1, 1), (0.5, 1)) == [0.2, 0.2, 0.5]


@pytest.mark.parametrize("nonsense", [-3.0, 7.0, float("inf")])
def test_a_reading_is_clamped(nonsense: float) -> None:
    assert 0 <= shown(RequestBar(), (nonsense, 1))[0] <= ALMOST


def test_the_bar_is_not_full_before_the_request_has_returned() -> None:
    assert shown(RequestBar(), (1.0, 1)) == [ALMOST]


@pytest.mark.parametrize("phases", [(1.0,), (1.0, 1.0, 1.0), (0.0, 1.0, 1.0)])
def test_adetailers_growing_job_count_moves_the_bar_neither_back_nor_to_the_end(phases: tuple[float, ...]) -> None:
    # As recorded: one job to 1.0, then a second job is found and the WebUI's own bar falls to 0.51.
    bar = shown(RequestBar(phases), (0.5, 1), (1.0, 1), (0.51, 2), (0.75, 2), (1.0, 2), (0.67, 3), (1.0, 3))
    assert bar == sorted(bar)
    assert bar[-1] <= ALMOST
    if phases == (1.0, 1.0, 1.0):
        assert len(set(bar)) == len(bar) - 2, "each phase moves the bar"
    if phases[0] == 0:
        assert bar[:2] == [0, 0], "with skip_img2img nothing is painted before a pass has found something"


def test_a_job_count_that_is_newer_than_the_fraction_does_not_fill_the_bar() -> None:
    """They come from two routes: the count of the second phase was seen with the first one's 1.0."""
    assert shown(RequestBar((0.0, 1.0)), (0.01, 1), (1.0, 2), (0.51, 2), (0.755, 2)) == [0, 0, 0, 0.5]


@pytest.mark.parametrize(
    ("args", "phases"),
    [
        ([True, True, {"ad_model": "face"}, {"ad_model": "hand"}], (0.0, 1.0, 1.0)),
        ([{"ad_model": "face"}], (1.0, 1.0)),
        ([True, False, {"ad_model": "face"}], (1.0, 1.0)),
    ],
)
def test_a_request_tells_which_phases_it_may_have(args: list[object], phases: tuple[float, ...]) -> None:
    payload = {"alwayson_scripts": {"ADetailer": {"args": args}}}
    fields = {"stage": "adetailer", "endpoint": "img2img", "first": 1, "of": 1, "seeds": (1,), "size": (64, 64)}
    assert Request.model_validate({**fields, "payload": payload}).phases == phases
    assert Request.model_validate({**fields, "payload": {}}).phases == (1.0,)


def test_eta_is_none_while_it_is_nonsense() -> None:
    bar = RequestBar(clock=lambda: 0.0)
    assert left(bar, 0.01, 1353.0) is None  # a model load
    assert left(bar, 0.2, -4.0) is None
    assert left(bar, 0.3, 200_000.0) is None
    assert left(bar, 0.4, None) is None
    assert left(bar, 0.5, 6.0) == 6.0


def test_eta_counts_down_between_two_steps() -> None:
    now = [100.0]
    bar = RequestBar(clock=lambda: now[0])
    assert left(bar, 0.5, 6.0) == 6.0
    now[0] = 102.0
    assert left(bar, 0.5, 8.0) == 4.0, "the same step: the WebUI's own estimate rises, ours does not"
    now[0] = 110.0
    assert left(bar, 0.5, 9.0) == 0.0
