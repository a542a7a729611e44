"""The order of what waits: as few loads as can be, a bound on being passed over, the user's priorities first."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backlog.order import seconds
from hours.policy import Policy, Slot, skipped
from hours.windows import Hours
from worker.order import PATIENCE, Waiting, checkpoints_of, plan

START = datetime(2026, 1, 1, tzinfo=UTC)


def waits(
    checkpoint: str,
    at: float = 0.0,
    *,
    priority: int = 1,
    ends: str | None = None,
    label: int = 0,
    moved_to: float | None = None,
) -> Waiting:
    due = START + timedelta(seconds=at)
    place = None if moved_to is None else seconds(START + timedelta(seconds=moved_to))
    return Waiting(uuid4(), f"{checkpoint}@{at:g}", due, priority, checkpoint, ends or checkpoint, label, place)


def loads(order: list[Waiting], loaded: str = "") -> int:
    count = 0
    for run in order:
        count += run.begins != loaded
        loaded = run.ends
    return count


@pytest.mark.parametrize(("loaded", "least"), [("", 6), ("c3", 5), ("something else", 6)])
def test_60_jobs_over_6_checkpoints_submitted_at_once_load_each_only_once(loaded: str, least: int) -> None:
    jobs = [waits(f"c{number % 6}", number * 0.1) for number in range(60)]
    random.Random(1).shuffle(jobs)
    order = [turn.run for turn in plan(jobs, loaded)]
    assert sorted(map(str, order)) == sorted(map(str, jobs))
    assert loads(order, loaded) == least


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3000), st.integers(1, 3)), min_size=1, max_size=40),
    st.sampled_from(["", "a", "b"]),
)
def test_nobody_is_passed_over_by_a_lower_priority_or_by_one_that_came_later_than_the_bound(jobs, loaded) -> None:
    waiting = [waits(checkpoint, at, priority=priority) for checkpoint, at, priority in jobs]
    order = [turn.run for turn in plan(waiting, loaded)]
    assert {run.id for run in order} == {run.id for run in waiting}
    for place, run in enumerate(order):
        for later in order[place + 1 :]:
            assert run.priority <= later.priority
            if run.priority == later.priority:
                assert run.due <= later.due + PATIENCE


def test_a_run_is_not_starved_by_jobs_of_the_loaded_checkpoint_that_keep_arriving() -> None:
    """Simulated: each job takes 30 s, and another of the loaded checkpoint comes every 30 s, for ever."""
    lonely = waits("rare", 1)
    waiting, loaded, now = [lonely, waits("usual", 0)], "usual", 0.0
    started: float | None = None
    while started is None and now < 10 * PATIENCE.total_seconds():
        first = plan([run for run in waiting if run.due <= START + timedelta(seconds=now + 1)], loaded)[0].run
        started = now if first is lonely else None
        waiting.remove(first)
        loaded = first.ends
        now += 30
        waiting.append(waits("usual", now))
    assert started is not None
    assert started <= PATIENCE.total_seconds() + 60


def test_a_simulated_night_of_eight_hours_with_200_jobs_three_timetables_and_hours() -> None:
    """Stepped, job by job: what the planner says is started, for 2 to 6 minutes, and handed back when the hours close.
    Two nights before, the machine was off; the queue is longer than a night."""
    hours = Hours.read("22:00-06:00 Europe/Berlin")
    chance, off_until = random.Random(7), datetime(2026, 11, 24, 20, 30, tzinfo=UTC)
    queue = [waits(f"c{number % 5}", number) for number in range(200)]
    queue = [replace(run, due=off_until + timedelta(seconds=number)) for number, run in enumerate(queue)]
    work = {str(run.id): timedelta(minutes=chance.randint(2, 6)) for run in queue}
    slots: dict[str, Slot] = {}
    for name, every, policy in [
        ("hourly", 60, Policy(at_most=6)),
        ("all", 240, Policy(missed="all")),
        ("none", 90, Policy(missed="none", not_after="03:00 Europe/Berlin")),
    ]:
        for number in range(72 * 60 // every):
            run = replace(waits("c1"), due=off_until + timedelta(minutes=every * number) - timedelta(days=2), label=-1)
            slots[str(run.id)] = Slot(str(run.id), run.due, policy, name, 2)
            work[str(run.id)] = timedelta(minutes=1)
            queue.append(run)
    begun: dict[str, datetime] = {}
    done: list[str] = []
    skips: dict[str, str] = {}
    now, loaded = off_until, "c3"
    while now < off_until + timedelta(hours=33):
        due = [run for run in queue if run.due <= now]
        night, opens = hours.night(now), hours.opens(now)
        unbegun = [slots[str(run.id)] for run in due if str(run.id) in slots and str(run.id) not in begun]
        made = Counter[str]()
        for one, start in begun.items():
            made[slots[one].timetable if one in slots else ""] += 2 * (start >= night)
        found = skipped(unbegun, now, night if opens == now else now, made if opens == now else None)
        skips |= {slot.id: reason for slot, reason in found}
        queue = [run for run in queue if str(run.id) not in skips]
        due = [run for run in due if str(run.id) not in skips]
        if opens > now or not due:
            now += timedelta(minutes=1)
            continue
        run = plan(due, loaded)[0].run
        begun.setdefault(str(run.id), now)
        end = min(now + work[str(run.id)], hours.closes(now) or now)
        work[str(run.id)] -= end - now
        now, loaded = end, run.ends
        assert all(hours.is_open(moment) for moment in (begun[str(run.id)], now - timedelta(seconds=1)))
        if not work[str(run.id)]:
            queue.remove(run)
            done.append(str(run.id))
    nights = Counter((slots[one].timetable, hours.night(begun[one])) for one in done if one in slots)
    assert max(count for (name, _), count in nights.items() if name == "hourly") <= 3, "6 pictures a night"
    assert [one for one, slot in slots.items() if slot.timetable == "all" and slot.due < now] == [
        one for one in done if slots.get(one, Slot("", now, Policy())).timetable == "all"
    ], "each of them, in order"
    assert not [one for one in done if one in slots and slots[one].timetable == "none" and slots[one].due < off_until]
    assert len(done) == len(set(done))
    assert {*done, *skips}.isdisjoint({str(run.id) for run in queue}), "what is neither done nor skipped waits"
    assert len([one for one in done if one not in slots]) > 150
    assert skips and all(skips.values())


def test_the_users_priority_comes_before_the_loaded_checkpoint() -> None:
    urgent, usual = waits("other", 50, priority=1), waits("loaded", 0, priority=2)
    assert [turn.run for turn in plan([usual, urgent], "loaded")] == [urgent, usual]


def test_a_users_priority_label_comes_before_the_loaded_checkpoint_and_within_the_work_queues_priority() -> None:
    usual, first, last = waits("loaded"), waits("other", 50, label=-1), waits("loaded", 1, label=2)
    other_queue = waits("loaded", 0, priority=2, label=-9)
    order = [turn.run for turn in plan([last, usual, other_queue, first], "loaded")]
    assert order == [first, usual, last, other_queue]


@settings(deadline=None)  # it says nothing of how long planning takes on a machine that is busy
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 600), st.none() | st.integers(-10, 700)),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(["", "a", "b"]),
)
def test_a_run_that_was_moved_stands_where_it_was_moved_to(jobs, loaded) -> None:
    """All before it in the users' order start before it, all behind it after it."""
    waiting = [waits(checkpoint, at, moved_to=place) for checkpoint, at, place in jobs]
    wanted = sorted(waiting, key=lambda run: (run.place or seconds(run.due), str(run.id)))
    order = [turn.run for turn in plan(waiting, loaded)]
    for place, run in enumerate(wanted):
        if run.place is not None:
            assert order.index(run) == place


def test_the_reason_of_a_run_that_a_user_put_first_says_so() -> None:
    turns = plan([waits("|a", 9, moved_to=0), waits("|b", 9, label=-2), waits("|a", 20)], "|c")
    assert [turn.reason for turn in turns] == ["priority -2; loads b", "moved here; loads a", "a is loaded"]


def test_a_job_that_ends_on_another_checkpoint_is_followed_by_one_of_that() -> None:
    switching, same, other = waits("a", 0, ends="b"), waits("a", 1), waits("b", 2)
    assert [turn.run for turn in plan([same, other, switching], "")] == [switching, other, same]


def test_a_run_without_a_checkpoint_keeps_its_place() -> None:
    foreign, first, second = waits("", 1), waits("a", 0), waits("a", 2)
    assert [turn.run for turn in plan([foreign, first, second], "")] == [first, second, foreign]
    assert plan([foreign], "")[0].reason == "the longest waiting"


def test_the_reasons_name_the_checkpoint_and_whom_a_run_passes_over() -> None:
    turns = plan([waits("|a", 0), waits("|b", 1)], "|b")
    assert [turn.reason for turn in turns] == ["b is loaded; before |a@0, due earlier", "the longest waiting; loads a"]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"job": {"checkpoint": "oil"}}, ("|oil", "|oil")),
        ({"job": {"checkpoint": "oil.safetensors [a40a3340bc]"}}, ("|oil", "|oil")),
        ({"job": {"checkpoint": "oil", "img2img": {"checkpoint": "ink"}}}, ("|oil", "|ink")),
        ({"job": {"checkpoint": "oil", "img2img": {"steps": 3}}}, ("|oil", "|oil")),
        ({"jobs": [{"checkpoint": "oil"}, {"checkpoint": "ink"}]}, ("|oil", "|ink")),
        ({"something": 1}, ("", "")),
        ({"job": None, "jobs": None}, ("", "")),
    ],
)
def test_the_checkpoints_of_a_run_are_read_from_its_parameters(parameters, found) -> None:
    assert checkpoints_of(parameters) == found


def test_the_same_checkpoint_on_another_webui_is_another() -> None:
    assert checkpoints_of({"job": {"checkpoint": "a"}, "webui": {"$ref": "x"}}) != checkpoints_of(
        {"job": {"checkpoint": "a"}}
    )
