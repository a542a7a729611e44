"""The order that users want of what waits, as labels of the runs; only the worker's planner acts on them.

A run has a priority (lower runs first, 0 by default), and within it a place: the time that it is due, or the one that
a user gave it by moving it. A tag marks the runs with such a label, because Prefect's API filters by tags and not by
labels: whoever reads a page of the queue also reads those, which belong to another place than their due time says.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, localcontext
from typing import Any
from uuid import UUID

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
DIGITS = 60  # of a place: room for 140 moves to the same spot
INSTANT = Decimal("0.000001")  # seconds; what Prefect's times are multiples of
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


def place_before(client: SyncPrefectClient, run: FlowRun, moved: UUID) -> Decimal:
    """A place before a waiting run's and after all that stand before it; ``moved``: the run that it is for.

    Only the runs with labels are read. Of the others it is known that their times are whole microseconds.
    """
    priority, place, _ = key_of(run)
    with localcontext() as context:
        context.prec = DIGITS
        instant = place.quantize(INSTANT, ROUND_FLOOR)
        keys = [key_of(one) for one in labelled(client) if one.id != moved]
        before = [key[1] for key in keys if key[0] == priority and key[1] < place]
        before.append(instant if instant < place else place - INSTANT)
        return (max(before) + place) / 2


def last(client: SyncPrefectClient, but: UUID) -> FlowRun | None:
    """The last of the waiting runs in the users' order, without the one of this id."""
    ordered = labelled(client)
    by_time = _waiting(client, len(ordered) + 2, offset=max(0, count_waiting(client) - len(ordered) - 2))
    found = [*ordered, *(run for run in by_time if ORDERED not in run.tags)]
    return max((run for run in found if run.id != but), key=key_of, default=None)


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
    ordered = sorted(labelled(client), key=key_of)
    start = max(0, offset - len(ordered))
    found = _waiting(client, limit + 2 * len(ordered), offset=start)
    # Of those before the page's first one, the ones without labels stand before it in the users' order as well.
    first = _due(found[0]) if found and start else None
    passed = start - sum(_due(run) < first for run in ordered) if first is not None else start
    merged = sorted([*ordered, *(run for run in found if ORDERED not in run.tags)], key=key_of)
    return merged[offset - passed :][:limit]


def labelled(client: SyncPrefectClient) -> list[FlowRun]:
    """The waiting runs with labels of the order, at most 1,000."""
    return _waiting(client, MOST * 5, tags={"all_": [ORDERED]})


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
