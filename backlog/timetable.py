"""The GPU hours, and the timetables: what they will start in the next hours; paused, resumed, changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.variables import Variable
from pydantic import BaseModel, TypeAdapter

from backlog.estimate import Estimate
from backlog.task import NotFound, jobs_of, work_of
from deployments.manifest import ScheduleEntry
from hours.policy import Policy, Slot, skipped
from hours.windows import ALWAYS, Hours

HOURS = "darkroom_hours"  # Prefect variable: see hours.windows.Hours.read; absent: always open
AHEAD = timedelta(hours=24)
# Prefect's own, as its scheduler computes them; the client's classes of the same names know no times.
SCHEDULE: TypeAdapter[Any] = TypeAdapter(IntervalSchedule | CronSchedule | RRuleSchedule)


class Planned(BaseModel):
    """A run that a timetable will start.

    Attributes:
        deployment: flow/deployment.
        timetable: the schedule's name (slug), or when it starts runs.
        due: its slot.
        begins, ends: expected, if nothing else waits in the queue; None: it will be skipped, or nothing is known yet.
        skipped: why it will not run; empty: it will.
        pauses: how often it hands back at closing and goes on at the next opening.
    """

    deployment: str
    timetable: str
    due: datetime
    begins: datetime | None = None
    ends: datetime | None = None
    skipped: str = ""
    pauses: int = 0


class Timetable(BaseModel):
    """One schedule of a saved job. ``when`` says it as cron, interval or rrule, with its time zone."""

    deployment: str
    name: str
    when: str
    active: bool


def read_hours(client: SyncPrefectClient) -> Hours:
    """The GPU hours.

    Raises:
        ValueError: somebody has set the variable to something else.
    """
    variable = client.read_variable_by_name(HOURS)
    return Hours.read(variable and variable.value)


def hours_in_force(client: SyncPrefectClient) -> Hours:
    """As ``read_hours``, for an estimate: always, where they are wrong."""
    try:
        return read_hours(client)
    except ValueError:
        return ALWAYS


def set_hours(hours: Hours) -> None:
    """Set the GPU hours; the worker notices within seconds. ``hours.windows.ALWAYS``: none."""
    if hours.windows:
        Variable.set(HOURS, hours.model_dump(mode="json", exclude_none=True), overwrite=True)
    else:
        Variable.unset(HOURS)


def timetables(client: SyncPrefectClient) -> list[Timetable]:
    """Every schedule of every deployment, also those that are paused."""
    return [_as_timetable(name, one) for name, deployment in _deployments(client) for one in deployment.schedules]


def planned(client: SyncPrefectClient, now: datetime, ahead: timedelta = AHEAD) -> list[Planned]:
    """What the timetables will start from ``now`` on, in order, within the GPU hours and by each one's policy.

    Raises:
        ValueError: the GPU hours are wrong.
    """
    hours, estimate = read_hours(client), Estimate(client)
    slots, taken, about = list[Slot](), dict[str, float | None](), dict[str, Timetable]()
    for name, deployment in _deployments(client):
        jobs, policy = jobs_of(deployment.parameters), Policy.of(deployment.parameters)
        pictures, work = sum(job.total for job in jobs), sum(work_of(job) for job in jobs)
        for one in (schedule for schedule in deployment.schedules if schedule.active):
            about[str(one.id)] = _as_timetable(name, one)
            taken[str(one.id)] = estimate.seconds_of(jobs[0].checkpoint if jobs else "", work)
            for due in slots_of(one, now, now + ahead):
                slots.append(Slot(f"{one.id} {due}", due, policy, str(one.id), pictures))
    slots.sort(key=lambda slot: slot.due)
    found = [
        Planned(deployment=about[slot.timetable].deployment, timetable=about[slot.timetable].name, due=slot.due, **when)
        for slot, when in simulate(slots, hours, now, taken)
    ]
    return sorted(found, key=lambda one: one.due)


def simulate(
    slots: list[Slot], hours: Hours, now: datetime, seconds: dict[str, float | None]
) -> Iterator[tuple[Slot, dict[str, Any]]]:
    """When each of the slots will begin and end, one after the other; ``seconds``: of a run, by timetable."""
    waiting, free = [*slots], now
    made: dict[tuple[str, datetime], int] = {}
    while waiting:
        begins = hours.opens(max(free, waiting[0].due))
        # From the slot's time to the moment at which it could begin, later ones become due and latest times pass.
        due, night = [slot for slot in waiting if slot.due <= begins], hours.night(begins)
        since = night if hours.windows else now
        tonight = {slot.timetable: made.get((slot.timetable, night), 0) for slot in due}
        gone = {slot.id: reason for slot, reason in skipped(due, begins, since, tonight)}
        if gone:
            yield from ((slot, {"skipped": gone[slot.id]}) for slot in due if slot.id in gone)
            waiting = [slot for slot in waiting if slot.id not in gone]
            continue
        slot = waiting.pop(0)
        made[slot.timetable, night] = tonight[slot.timetable] + slot.pictures
        taken = seconds.get(slot.timetable)
        spans = hours.spans(begins, taken or 0)
        free = spans[-1][1]
        yield slot, {"begins": begins, "ends": free if taken else None, "pauses": len(spans) - 1}


def slots_of(schedule: DeploymentSchedule, start: datetime, end: datetime) -> list[datetime]:
    """A schedule's times between two others; at most the first 1,000, as Prefect computes them."""
    times = SCHEDULE.validate_python(schedule.schedule.model_dump(mode="json"))
    found = asyncio.run(times.get_dates(start=start, end=end))
    return [datetime.fromtimestamp(one.timestamp(), UTC) for one in found]


def switch(client: SyncPrefectClient, name: str, active: bool) -> list[Timetable]:
    """Pause or resume the timetables of a deployment (flow/deployment, or its last part, or a timetable's own name).

    Raises:
        NotFound: none is called so.
    """
    return _change(client, name, {"active": active})


def change_when(client: SyncPrefectClient, name: str, when: ScheduleEntry) -> list[Timetable]:
    """Give the timetables of that name (as for switch) other times; their switches stay.

    Raises:
        NotFound: none is called so.
    """
    return _change(client, name, {"schedule": when.schedule()})


def closing_note(hours: Hours, now: datetime, before: float, own: float) -> str:
    """What to tell a person who queues a task about the GPU hours; empty: nothing.

    Args:
        before, own: seconds of work of what comes before it, and its own; 0: not known.
    """
    begins = hours.opens(hours.spans(now, before)[-1][1])
    spans = hours.spans(begins, own)
    if len(spans) > 1:
        return (
            f"it can't be finished before the GPU hours close at {hours.clock(spans[0][1])}: it stops after its "
            f"picture, goes on at the next opening, and is done at about {hours.clock(spans[-1][1])}"
        )
    if hours.opens(now) > now:
        done = f", and it is done at about {hours.clock(spans[-1][1])}" if own else ""
        return f"the GPU hours are closed until {hours.clock(hours.opens(now))}{done}"
    return ""


def _change(client: SyncPrefectClient, name: str, change: dict[str, Any]) -> list[Timetable]:
    found = []
    for full, deployment in _deployments(client):
        for one in deployment.schedules:
            if name in (full, deployment.name, one.slug):
                client.update_deployment_schedule(deployment.id, one.id, **change)
                found.append(_as_timetable(full, one.model_copy(update=change)))
    if not found:
        raise NotFound(f"no timetable and no saved job with one is called {name}: `darkroom timetable` lists them")
    return found


def when_of(schedule: DeploymentSchedule) -> str:
    """When a schedule starts runs: its cron line, interval or rrule, and its time zone."""
    said = schedule.schedule.model_dump(mode="json", exclude_none=True)
    kind = next(key for key in ("cron", "rrule", "interval") if key in said)
    when = f"every {timedelta(seconds=said[kind])}" if kind == "interval" else said[kind].rpartition("\n")[2]
    return f"{when} {said.get('timezone', 'UTC')}"


def _as_timetable(deployment: str, schedule: DeploymentSchedule) -> Timetable:
    when = when_of(schedule)
    return Timetable(deployment=deployment, name=schedule.slug or when, when=when, active=schedule.active)


def _deployments(client: SyncPrefectClient) -> Iterator[tuple[str, DeploymentResponse]]:
    offset = 0
    while page := client.read_deployments(offset=offset):
        for one in page:
            if one.schedules:
                try:
                    yield f"{client.read_flow(one.flow_id).name}/{one.name}", one
                except ObjectNotFound:  # deleted just now
                    continue
        offset += len(page)
