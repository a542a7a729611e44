"""Missed slots by policy, latest times and pictures a night: on times that are stepped, over every kind of schedule."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import ValidationError

from hours.policy import Policy, Slot, deadline, skipped
from hours.windows import ALWAYS, Hours

BERLIN = "Europe/Berlin"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
NIGHTS = {
    "a day": datetime(2026, 6, 10, tzinfo=UTC),
    "the clock skips an hour": datetime(2026, 3, 28, 12, tzinfo=UTC),
    "an hour comes twice": datetime(2026, 10, 24, 12, tzinfo=UTC),
}
SCHEDULES = {
    "cron": CronSchedule(cron="20 2,3 * * *", timezone=BERLIN),
    "cron, hourly": CronSchedule(cron="5 * * * *", timezone=BERLIN),
    "interval": IntervalSchedule(
        interval=timedelta(minutes=95), anchor_date=datetime(2026, 1, 1, tzinfo=UTC), timezone=BERLIN
    ),
    "rrule": RRuleSchedule(rrule="FREQ=DAILY;BYHOUR=2,14;BYMINUTE=30;BYSECOND=0", timezone=BERLIN),
}


def slots_of(schedule: Any, start: datetime, end: datetime, policy: Policy, timetable: str = "t") -> list[Slot]:
    """The slots as Prefect's own scheduler lays them out."""
    dates = asyncio.run(schedule.get_dates(start=start, end=end))
    found = [datetime.fromtimestamp(one.timestamp(), UTC) for one in dates]  # pendulum's own class else
    return [Slot(f"{timetable} {one.isoformat()}", one, policy, timetable, 1) for one in found]


def simulate(
    slots: list[Slot],
    start: datetime,
    end: datetime,
    *,
    hours: Hours = ALWAYS,
    off: tuple[datetime, datetime],
    busy: int,
) -> tuple[list[Slot], dict[str, str]]:
    """As the worker does, from one moment at which something can happen to the next: drop what is skipped, then start
    the first that waits, if the GPU is free (each takes ``busy`` minutes), the hours are open and the machine is not
    off. Returns what began, and what was skipped with the reasons."""
    waiting, begun, dropped, free_at, now, began = [*slots], list[Slot](), dict[str, str](), start, start, start
    while now < end:
        if off[0] <= now < off[1]:
            now = began = off[1]
        opens = hours.opens(now)
        since = now if opens > now else max(began, hours.night(now)) if hours.closes(now) else began
        made = Counter(one.timetable for one in begun if starts[one.id] >= hours.night(now)) if opens == now else None
        dropped |= {one.id: reason for one, reason in skipped(waiting, now, since, made)}
        waiting = [one for one in waiting if one.id not in dropped]
        if waiting and waiting[0].due <= now and now >= free_at and opens == now:
            begun.append(waiting.pop(0))
            starts[begun[-1].id] = now
            free_at = now + busy * MINUTE
        coming = [off[0], free_at, opens, hours.closes(now) or end, end, *(one.due for one in waiting)]
        now = min(one for one in coming if one > now or one == end)
    return begun, dropped


starts: dict[str, datetime] = {}  # when each slot of the last simulation began


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("night", NIGHTS)
@settings(deadline=None, max_examples=6)  # it says nothing of how long it takes on a machine that is busy
@given(
    missed=st.sampled_from(["latest", "all", "none"]),
    hours=st.sampled_from([ALWAYS, Hours.read(f"01:00-05:00 {BERLIN}")]),
    off=st.tuples(st.integers(0, 24 * 60), st.integers(0, 30 * 60)),
    busy=st.integers(1, 90),
)
def test_no_slot_runs_twice_and_none_is_lost_beyond_its_policy(kind, night, missed, hours, off, busy) -> None:
    start = NIGHTS[night]
    end = start + 2 * DAY
    slots = slots_of(SCHEDULES[kind], start, end, Policy(missed=missed))
    assert len({one.due for one in slots}) == len(slots)
    away = start + off[0] * MINUTE, start + (off[0] + off[1]) * MINUTE
    begun, dropped = simulate(slots, start, end + 30 * DAY, hours=hours, off=away, busy=busy)
    assert len({one.id for one in begun}) == len(begun), "no slot runs twice"
    assert not {one.id for one in begun} & dropped.keys()
    assert {one.id for one in begun} | dropped.keys() == {one.id for one in slots}, "each is accounted for"
    if missed == "all":
        assert not dropped
    if missed == "latest":
        assert slots[-1] in begun, "the latest is never lost"
    for one in slots:
        if reason := dropped.get(one.id):
            later = [other for other in slots if one.due < other.due]
            taken = hours.is_open(one.due) and not away[0] <= one.due < away[1]
            assert ("later run" in reason and later) or (missed == "none" and not taken), reason


@pytest.mark.parametrize(("missed", "runs"), [("latest", 1), ("all", 3), ("none", 0)])
def test_a_machine_that_was_off_for_three_nights(missed: Any, runs: int) -> None:
    start = datetime(2026, 11, 24, 12, tzinfo=UTC)
    slots = slots_of(SCHEDULES["rrule"], start, start + 3 * DAY, Policy(missed=missed))
    nightly = [one for one in slots if one.due.astimezone(ZoneInfo(BERLIN)).hour == 2]
    back = start + 3 * DAY + 5 * MINUTE
    begun, dropped = simulate(nightly, start, back + DAY, off=(start, back), busy=10)
    assert (len(begun), len(dropped)) == (runs, 3 - runs)
    assert begun == nightly[3 - runs :], "the latest ones, in order"


def test_an_every_minute_timetable_after_ten_minutes_off_runs_once() -> None:
    start = datetime(2026, 11, 24, tzinfo=UTC)
    slots = slots_of(CronSchedule(cron="* * * * *"), start, start + 10 * MINUTE, Policy())
    begun, _ = simulate(slots, start, start + 30 * MINUTE, off=(start, start + 11 * MINUTE), busy=1)
    assert [one.due for one in begun] == [start + 10 * MINUTE]


def test_a_run_past_its_latest_time_is_skipped_with_the_reason() -> None:
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)
    queued = Slot("queued", start, Policy(not_after="02:30 Europe/Berlin"))
    latest = deadline(start, "02:30 Europe/Berlin")
    assert latest == datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "the first time in the hour that comes twice"
    assert not list(skipped([queued], latest - MINUTE, start))
    assert [reason for _, reason in skipped([queued], latest, start)] == [
        "it did not begin by 02:30 Europe/Berlin, its latest time"
    ]
    assert deadline(start, "22:00") == start + DAY
    assert deadline(datetime(2026, 3, 28, 23, tzinfo=UTC), "02:30 Europe/Berlin") == datetime(
        2026, 3, 29, 1, tzinfo=UTC
    )


def test_at_most_so_many_pictures_a_night() -> None:
    hours = Hours.read(f"22:00-06:00 {BERLIN}")
    start = datetime(2026, 11, 24, 12, tzinfo=UTC)
    slots = slots_of(SCHEDULES["cron, hourly"], start, start + 2 * DAY, Policy(missed="all", at_most=5))
    begun, dropped = simulate(slots, start, start + 2 * DAY, hours=hours, off=(start, start), busy=5)
    assert Counter(hours.night(starts[one.id]) for one in begun) == {
        datetime(2026, 11, 24, 21, tzinfo=UTC): 5,
        datetime(2026, 11, 25, 21, tzinfo=UTC): 5,
    }
    assert set(dropped.values()) == {"its timetable makes at most 5 pictures a night: 6 with this run"}


@pytest.mark.parametrize(
    "wrong", [{"missed": "some"}, {"not_after": "6:00"}, {"not_after": "06:00 Mars"}, {"at_most": 0}, {"until": "x"}]
)
def test_a_wrong_policy_is_refused_by_the_flow_and_ignored_by_the_planner(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate(wrong)
    assert Policy.of({"policy": wrong}) == Policy.of({}) == Policy.of({"policy": None}) == Policy()
