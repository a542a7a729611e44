"""The order that users want of what waits, as labels of the runs; only the worker's planner acts on them.

A run has a priority (lower runs first, 0 by default), and within it a place: the time that it is due, or the one that
a user gave it by moving it. A tag marks the runs with such a label, because Prefect's API filters by tags and not by
labels: whoever reads a page of the queue also reads those, which belong to another place than their due time says.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, localcontext

from prefect.client.schemas.objects import FlowRun

PRIORITY = "darkroom.priority"  # label: an integer
PLACE = "darkroom.place"  # label: seconds since 1970 as a decimal number in text; empty: the time that it is due
ORDERED = "ordered"  # tag of a run that has one of these labels
ORDER_CHANGED = "darkroom.queue.reordered"  # the event after a change
DIGITS = 60  # of a place: 50 binary orders of magnitude between two runs that are due a microsecond apart

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
    place, due = place_of(run), run.next_scheduled_start_time or run.expected_start_time or datetime.now(UTC)
    return priority_of(run), Decimal(repr(due.timestamp())) if place is None else place, str(run.id)


def between(before: Decimal | None, after: Decimal) -> Decimal:
    """A place between two others; ``before`` None: a second before ``after``."""
    with localcontext() as context:
        context.prec = DIGITS
        return after - 1 if before is None else (before + after) / 2
