"""The order that users want of what waits, as labels of the runs; only the worker's planner acts on them.

A run has a priority (lower runs first, 0 by default), and within it a place: the time that it is due, or the one that
a user gave it by moving it. A tag marks the runs with such a label, because Prefect's API filters by tags and not by
labels: whoever reads a page of the queue also reads those, which belong to another place than their due time says.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import emit_event

from deployments.bootstrap import POOL

PRIORITY = "darkroom.priority"  # label: an integer
PLACE = "darkroom.place"  # label: seconds since 1970 as a decimal number in text; empty: the time that it is due
ORDERED = "ordered"  # tag of a run that has one of these labels
ORDER_CHANGED = "darkroom.queue.reordered"  # the event after a change
DIGITS = 60  # of a place: room for 120 moves to the same spot, between two runs that are due a millisecond apart
SOON = timedelta(minutes=2)  # what is due within it counts as waiting
MOST = 200  # runs in one of Prefect's answers

IN_POOL = WorkPoolFilter.model_validate({"name": {"any_": [POOL]}})
Key = tuple[int, Decimal, str]


def priority_of(run: FlowRun) -> int:
    """Its priority, lower runs first."""
    label = run.labels.get(PRIORITY, 0)
    return label if isinstance(label, int) else 0


def place_of(run: FlowRun) -> Decimal | None:
    """The place that a user moved it to; None: nobody did."""
    label = str(run.labels.get(PLACE, ""))
    return Decimal(label) if label else None


def key_of(run: FlowRun) -> Key:
    """By this the waiting runs of a work queue are ordered."""
    place = place_of(run)
    return priority_of(run), _due(run) if place is None else place, str(run.id)


def seconds(time: datetime) -> Decimal:
    """A time as a place: seconds since 1970."""
    return Decimal(repr(time.timestamp()))


def between(before: Decimal | None, after: Decimal) -> Decimal:
    """A place between two others; ``before`` None: a second before ``after``."""
    with localcontext() as context:
        context.prec = DIGITS
        return after - 1 if before is None else (before + after) / 2


def set_order(client: SyncPrefectClient, run: FlowRun, priority: int, place: Decimal | None) -> None:
    """Label a waiting run and tell the planner. ``place`` None: the time that it is due."""
    client.update_flow_run_labels(run.id, {PRIORITY: priority, PLACE: "" if place is None else str(place)})
    if ORDERED not in run.tags:
        client.update_flow_run(run.id, tags=[*run.tags, ORDERED])
    emit_event(ORDER_CHANGED, {"prefect.resource.id": f"prefect.flow-run.{run.id}"})


def in_order(client: SyncPrefectClient, offset: int, limit: int) -> list[FlowRun]:
    """A page of the waiting runs in the users' order. Prefect sorts by due time: from its list the runs with labels of
    the order are taken out and put where they belong, so a page costs the same wherever it is.
    """
    labelled = sorted(_waiting(client, MOST * 5, tags={"all_": [ORDERED]}), key=key_of)
    start = max(0, offset - len(labelled))
    found = _waiting(client, limit + 2 * len(labelled), offset=start)
    # Of those before the page's first one, the ones without labels stand before it in the users' order as well.
    first = _due(found[0]) if found and start else None
    passed = start - sum(_due(run) < first for run in labelled) if first is not None else start
    merged = sorted([*labelled, *(run for run in found if ORDERED not in run.tags)], key=key_of)
    return merged[offset - passed :][:limit]


def count_waiting(client: SyncPrefectClient) -> int:
    """How many wait."""
    return client.count_flow_runs(work_pool_filter=IN_POOL, flow_run_filter=_filter())


def _waiting(client: SyncPrefectClient, limit: int, offset: int = 0, **wanted: Any) -> list[FlowRun]:
    """Up to ``limit`` waiting runs by the time that they are due."""
    runs: list[FlowRun] = []
    while len(runs) < limit:
        asked = min(MOST, limit - len(runs))
        page = client.read_flow_runs(
            work_pool_filter=IN_POOL,
            flow_run_filter=_filter(**wanted),
            sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
            limit=asked,
            offset=offset + len(runs),
        )
        runs += page
        if len(page) < asked:
            break
    return runs


def _filter(**wanted: Any) -> FlowRunFilter:
    due = {"before_": datetime.now(UTC) + SOON}
    scheduled = {"state": {"type": {"any_": ["SCHEDULED"]}}, "next_scheduled_start_time": due}
    return FlowRunFilter.model_validate(scheduled | wanted)


def _due(run: FlowRun) -> Decimal:
    return seconds(run.next_scheduled_start_time or run.expected_start_time or datetime.now(UTC))
