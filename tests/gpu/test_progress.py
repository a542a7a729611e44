"""The bar goes forward only, and the countdown goes down."""

from typing import Any, cast

import pytest

from gpu.progress import ALMOST, Countdown, Reading, RequestBar
from gpu.request import Request
from tasks.progress import JobProgress


def shown(bar: RequestBar, *readings: tuple[float, int]) -> list[float]:
    return [round(bar.read(Reading(fraction, jobs=jobs)), 4) for fraction, jobs in readings]


def test_a_step_back_is_ignored() -> None:
    assert shown(RequestBar(), (0.2, 1), (0.1, 1), (0.5, 1)) == [0.2, 0.2, 0.5]


@pytest.mark.parametrize("nonsense", [-3.0, 7.0, float("inf")])
def test_a_reading_is_clamped(nonsense: float) -> None:
    assert 0 <= RequestBar().read(Reading(nonsense)) <= ALMOST


def test_the_bar_is_not_full_before_the_request_has_returned() -> None:
    assert shown(RequestBar(), (1.0, 1)) == [ALMOST]


@pytest.mark.parametrize("may_grow", [True, False])
def test_adetailers_growing_job_count_moves_the_bar_neither_back_nor_to_the_end(may_grow: bool) -> None:
    # As recorded: one job to 1.0, then a second job is found and the WebUI's own bar falls to 0.51.
    bar = shown(RequestBar(may_grow), (0.5, 1), (1.0, 1), (0.51, 2), (0.75, 2), (1.0, 2), (0.67, 3), (1.0, 3))
    assert bar == sorted(bar)
    assert bar[-1] <= ALMOST
    if may_grow:
        assert len(set(bar)) == len(bar) - 2, "each phase moves the bar"


def test_eta_is_none_while_it_is_nonsense() -> None:
    countdown = Countdown(clock=lambda: 0.0)
    assert countdown.read(0.01, 1353.0) is None  # a model load
    assert countdown.read(0.2, -4.0) is None
    assert countdown.read(0.3, 200_000.0) is None
    assert countdown.read(0.4, None) is None
    assert countdown.read(0.5, 6.0) == 6.0


def test_eta_counts_down_between_two_steps() -> None:
    now = [100.0]
    countdown = Countdown(clock=lambda: now[0])
    assert countdown.read(0.5, 6.0) == 6.0
    now[0] = 102.0
    assert countdown.read(0.5, 8.0) == 4.0, "the same step: the WebUI's own estimate rises, ours does not"
    now[0] = 110.0
    assert countdown.read(0.5, 9.0) == 0.0


class Shown:
    """An artifact that is only remembered."""

    def __init__(self, key: str, title: str) -> None:
        self.key = key

    def show(self, percent: float, text: str, *, now: bool = False) -> None:
        pass

    def flush(self, timeout: float) -> None:
        pass


def test_stage_boundaries_move_the_bar_when_nothing_can_be_polled() -> None:
    heard: list[float] = []
    job = JobProgress(
        {"txt2img": 30, "upscale": 10}, callback=lambda percent, eta: heard.append(percent), artifact=cast(Any, Shown)
    )
    totals = []
    for stage in ("txt2img", "upscale"):
        job.begin(stage, 2)
        totals.append(job.total)
        job.end()
        totals.append(job.total)
    assert totals == [0, 75, 75, 100]
    assert heard == [0, 100, 0, 100]


def test_the_job_never_goes_back_and_is_full_only_at_the_end() -> None:
    request = Request(stage="txt2img", endpoint="txt2img", first=1, of=2, seeds=(1,), size=(64, 64), payload={})
    heard: list[float] = []
    job = JobProgress({"txt2img": 1}, callback=lambda percent, eta: heard.append(percent), artifact=cast(Any, Shown))
    job.begin("txt2img", 2)
    for bar in (0.2, 0.1, 0.5, 0.99):
        job.moved(request, bar, None, "")
    job.done(request)
    job.moved(request, 0.1, None, "")
    job.done(request)
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(99)
    job.end()
    assert heard[-1] == 100
