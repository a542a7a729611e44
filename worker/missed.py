"""Missed slots of timetables: dropped before they are handed out, or, where all are to run, laid out.

Prefect lays out the next three runs of a timetable, and those of the next hour. After a longer absence the others are
not there: for ``latest`` the last one that is there stands for them, for ``all`` they are laid out here.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from backlog.task import as_task, result_images
from deployments.bootstrap import POOL
from hours.policy import Policy, Slot, skipped
from worker.recovery import read_runs

SKIPPED = "Skipped"  # name of the state of a run that was not to start any more
MOST_SLOTS = 1000  # of one deployment that are laid out after an absence; Prefect computes no more at once

logger = logging.getLogger("darkroom.worker")


def timetable_of(run: FlowRun) -> str:
    """The schedule that laid the run out; empty: somebody queued it."""
    return str(run.created_by.id) if run.auto_scheduled and run.created_by else ""


async def drop_missed(
    client: PrefectClient, runs: Sequence[FlowRun], since: datetime, night: datetime | None
) -> set[UUID]:
    """Cancel the waiting runs that are not to start any more; returns their ids. One that has begun goes on.

    Args:
        since: see hours.policy.skipped.
        night: when this night began; None: the hours are closed, and tonight's pictures are yet to be counted.
    """
    slots, limited = {}, False
    for run in runs:
        if not run.run_count and run.expected_start_time:
            policy, timetable = Policy.of(run.parameters), timetable_of(run)
            pictures = as_task(run).pictures if timetable and policy.at_most else 0
            limited |= bool(pictures)
            slots[str(run.id)] = run, Slot(str(run.id), run.expected_start_time, policy, timetable, pictures)
    made = None if night is None else await _made(client, night) if limited else {}
    gone = set()
    for slot, reason in skipped([slot for _, slot in slots.values()], datetime.now(UTC), since, made):
        run = slots[slot.id][0]
        logger.info("run %s, due at %s, is skipped: %s", run.name, slot.due.astimezone(), reason)
        with contextlib.suppress(ObjectNotFound):  # it was deleted just now
            await client.set_flow_run_state(run.id, Cancelled(name=SKIPPED, message=reason))
        gone.add(run.id)
    return gone


async def _made(client: PrefectClient, night: datetime) -> Counter[str]:
    """Pictures of this night's runs by timetable; of a batch from a file those that are in the gallery."""
    made = Counter[str]()
    for run in await read_runs(client, POOL, {"start_time": {"after_": night}, "tags": {"all_": ["auto-scheduled"]}}):
        if run.run_count:  # Prefect takes the time at which a run is due for the start of one that has not begun
            made[timetable_of(run)] += as_task(run).pictures or len(result_images(run.id))
    return made


async def lay_out_missed(client: PrefectClient, start: datetime, end: datetime) -> None:
    """Have Prefect lay out the slots between two times of the saved jobs whose policy runs all that were missed. It
    lays out each slot once, so those that are there are not doubled. None from before a timetable was last changed."""
    for deployment in await client.read_deployments():
        active = [one for one in deployment.schedules if one.active]
        if active and Policy.of(deployment.parameters).missed == "all":
            changed = [one.updated for one in active if one.updated]
            times = {"start_time": max([start, *changed]).isoformat(), "end_time": end.isoformat()}
            counts = {"min_runs": MOST_SLOTS, "max_runs": MOST_SLOTS}
            route = {"id": deployment.id}
            await client.request("POST", "/deployments/{id}/schedule", path_params=route, json=times | counts)
