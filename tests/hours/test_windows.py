"""GPU hours: by weekday, over midnight, on both nights of daylight saving, and what a user writes wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hours.windows import ALWAYS, Hours

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def openings(hours: Hours, start: datetime, end: datetime) -> list[tuple[str, float]]:
    """When hours open from ``start`` on, by the local clock, and for how many hours."""
    found = []
    while (opens := hours.opens(start)) < end:
        closes = hours.closes(opens)
        assert closes is not None
        local = opens.astimezone(ZoneInfo(hours.timezone))
        found.append((f"{local:%a %H:%M}", (closes - opens).total_seconds() / 3600))
        start = closes
    return found


def test_a_week_of_hours_by_weekday() -> None:
    hours = Hours.read(f"mon-thu 22:00-06:00, sat 13:00-15:00, sat 14:30-16:00, sun 00:00-24:00 {BERLIN}")
    assert openings(hours, at("2026-11-23T12:00"), at("2026-11-30T12:00")) == [
        ("Mon 22:00", 8),
        ("Tue 22:00", 8),
        ("Wed 22:00", 8),
        ("Thu 22:00", 8),
        ("Sat 13:00", 3),
        ("Sun 00:00", 24),
    ]
    assert (
        openings(Hours.read("fri-mon 01:00-02:00"), at("2026-11-24T12:00"), at("2026-12-01T12:00"))[0][0][:3] == "Fri"
    )


@pytest.mark.parametrize(
    ("window", "night", "opened"),
    [
        # On 29 March 2026 the clock skips from 02:00 to 03:00.
        ("01:00-07:00", "2026-03-29", [("Sun 01:00", 5)]),
        ("02:30-06:00", "2026-03-29", [("Sun 03:00", 3)]),
        ("01:00-02:30", "2026-03-29", [("Sun 01:00", 1)]),
        ("02:10-02:50", "2026-03-29", []),
        # On 25 October 2026 the hour from 02:00 to 03:00 comes twice.
        ("01:00-07:00", "2026-10-25", [("Sun 01:00", 7)]),
        ("02:30-06:00", "2026-10-25", [("Sun 02:30", 4.5)]),
        ("01:00-02:30", "2026-10-25", [("Sun 01:00", 1.5)]),
        ("02:10-02:50", "2026-10-25", [("Sun 02:10", pytest.approx(2 / 3))]),
    ],
)
def test_daylight_saving(window: str, night: str, opened: list[tuple[str, float]]) -> None:
    hours = Hours.read(f"sun {window} {BERLIN}")
    assert openings(hours, at(f"{night}T00:00"), at(f"{night}T12:00")) == opened


def test_a_weekly_window_that_daylight_saving_skips_opens_a_week_later() -> None:
    hours = Hours.read(f"sun 02:10-02:50 {BERLIN}")
    assert hours.opens(at("2026-03-22T12:00")) == at("2026-04-05T02:10")
    assert hours.night(at("2026-04-05T02:00")) == at("2026-03-22T02:10")


def test_the_repeated_hour_opens_once() -> None:
    hours = Hours.read(f"01:00-02:30 {BERLIN}")
    assert hours.is_open(at("2026-10-25T02:15"))
    assert not hours.is_open(at("2026-10-25T02:15", fold=1))


CLOCKS = st.integers(0, 24 * 12 - 1).map(lambda n: f"{n // 12:02}:{5 * (n % 12):02}")
WINDOWS = st.tuples(st.sampled_from(["", "mon ", "sat-tue "]), CLOCKS, CLOCKS).filter(lambda one: one[1] != one[2])
MOMENTS = st.datetimes(datetime(2026, 3, 20), datetime(2026, 11, 5)).map(lambda one: one.replace(tzinfo=UTC))  # noqa: DTZ001  hypothesis wants bounds without a zone


@settings(deadline=None, max_examples=60)  # it says nothing of how long it takes on a machine that is busy
@given(st.lists(WINDOWS, min_size=1, max_size=3), st.sampled_from([BERLIN, "America/New_York", "UTC"]), MOMENTS)
def test_what_is_said_of_hours_fits_together(windows, zone: str, now: datetime) -> None:
    hours = Hours.read(f"{', '.join(f'{days}{begin}-{end}' for days, begin, end in windows)} {zone}")
    opens, closes = hours.opens(now), hours.closes(now)
    assert hours.is_open(opens) and opens >= now >= hours.night(now)
    if closes is not None:
        assert closes > opens and not hours.is_open(closes)
        assert hours.is_open(closes - timedelta(seconds=1))
        assert hours.night(opens) <= opens and hours.opens(hours.night(opens)) == hours.night(opens)
    spans = hours.spans(now, 5 * 3600)
    assert sum((end - begin for begin, end in spans), timedelta()) == timedelta(hours=5)
    assert all(hours.is_open(begin) for begin, _ in spans)


def test_work_goes_on_at_the_next_opening() -> None:
    hours = Hours.read(f"01:00-07:00 {BERLIN}")
    assert hours.spans(at("2026-11-24T05:00"), 3 * 3600) == [
        (at("2026-11-24T05:00"), at("2026-11-24T07:00")),
        (at("2026-11-25T01:00"), at("2026-11-25T02:00")),
    ]
    assert ALWAYS.spans(at("2026-11-24T05:00"), 60) == [(at("2026-11-24T05:00"), at("2026-11-24T05:01"))]
    assert ALWAYS.night(at("2026-11-24T05:00", "UTC")) == at("2026-11-23T12:00", "UTC")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "no window of hours"),
        ("noon", "no window of hours"),
        ("1:00-2:00", "no window of hours"),
        ("01:00-01:00", "whole day is 00:00-24:00"),
        ("01:00-25:00", "25:00: no time of day"),
        ("01:00-07:00 Mars/Olympus", "Mars/Olympus: no such time zone"),
        ("someday 01:00-02:00", "no window of hours"),
        (7, "Input should be"),
        ({"windows": []}, "at least 1 item"),
        ({"windows": ["01:00-02:00"], "zone": "UTC"}, "Extra inputs"),
    ],
)
def test_what_is_wrong_is_said_with_an_example(value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        Hours.read(value)
    assert "Write 01:00-07:00 Europe/Berlin" in str(error.value)


def test_hours_are_read_back_as_they_are_stored_and_shown() -> None:
    hours = Hours.read({"windows": ["Mon-Fri 22:00-06:00"], "timezone": BERLIN, "exempt": -10})
    assert Hours.read(hours.model_dump(mode="json")) == hours
    assert str(hours) == f"mon-fri 22:00-06:00 {BERLIN}; at any time runs of priority -10 and before"
    assert hours.clock(at("2026-11-24T12:00", "UTC")) == "Tue 13:00 CET"
    assert Hours.read("01:00-07:00").timezone == "UTC"
    assert Hours.read(None).is_open(at("2026-11-24T12:00"))
