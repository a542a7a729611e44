"""The pace of the embedded WebUI's steps, on a clock of the test's own."""

from __future__ import annotations

import pytest

from webui.embedded import steps
from webui.embedded.steps import StepDriver


class Clock:
    """Stands for the time module: sleeping wakes ``late`` seconds too late, as a busy host does."""

    def __init__(self) -> None:
        self.now, self.late = 100.0, 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.late


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(steps, "time", clock)
    return clock


def a_pass(clock: Clock, driver: StepDriver, painting: list[float]) -> list[float]:
    """When each step of a pass ended, in seconds from its begin."""
    driver.begin_pass()
    began, ends = clock.now, []
    for seconds in painting:
        started = clock.now
        clock.now += seconds
        driver.after_step(started)
        ends.append(round(clock.now - began, 3))
    return ends


def test_steps_take_their_time(clock: Clock) -> None:
    assert a_pass(clock, StepDriver(0.05), [0.01] * 3) == [0.05, 0.1, 0.15]


def test_what_a_late_host_loses_does_not_add_up(clock: Clock) -> None:
    clock.late = 0.02
    assert a_pass(clock, StepDriver(0.05), [0.01] * 4) == [0.07, 0.12, 0.17, 0.22]


def test_a_step_that_was_held_for_long_is_no_reason_to_hurry(clock: Clock) -> None:
    assert a_pass(clock, StepDriver(0.05), [3.0, 0.01, 0.01, 0.01]) == [3.0, 3.01, 3.05, 3.1]


def test_without_a_step_time_a_step_takes_what_it_needs(clock: Clock) -> None:
    assert a_pass(clock, StepDriver(), [0.01, 0.02]) == [0.01, 0.03]
