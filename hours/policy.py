"""What becomes of runs that could not start in time: the slots of a timetable that were missed, and ``not after``.

A slot is a time at which a timetable has a run started, and that run. It is missed when a later slot of the same
timetable is due while it waits, or, for the policy ``none``, when nothing could be started at its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hours.windows import DAY, known_zone, minutes_of, moment

IN_TIME = timedelta(minutes=1)  # after its time a slot still counts as started in time


def _is_clock(text: str) -> str:
    clock, _, zone = text.partition(" ")
    minutes_of(clock)
    known_zone(zone or "UTC")
    return text


class Policy(BaseModel):
    """What becomes of a run that can't start in time. For the worker, not for the pictures."""

    model_config = ConfigDict(title="Timetable policy", extra="forbid")

    missed: Literal["latest", "all", "none"] = Field(
        "latest",
        title="Missed slots",
        description="Of a timetable's runs whose time passed while the machine was off or the GPU hours were closed: "
        "run the latest once, all, or none.",
        json_schema_extra={"position": 1},
    )
    not_after: Annotated[str, AfterValidator(_is_clock)] | None = Field(
        None,
        title="Not after",
        description="A run that has not begun by this time of day is skipped: 06:00 Europe/Berlin (else UTC).",
        json_schema_extra={"position": 2},
    )
    at_most: int | None = Field(
        None,
        title="Pictures a night",
        description="At most so many of one timetable, from one opening of the GPU hours to the next.",
        json_schema_extra={"position": 3},
        ge=1,
    )

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Policy:
        """The policy in a run's parameters; the default where there is none, or one that the run itself will refuse."""
        try:
            return cls.model_validate(parameters.get("policy") or {})
        except ValidationError:
            return cls()


def deadline(due: datetime, not_after: str) -> datetime:
    """The first time after ``due`` that the clock shows ``not_after``."""
    clock, _, zone_name = not_after.partition(" ")
    zone = ZoneInfo(zone_name or "UTC")
    days = (due.astimezone(zone).date() + n * DAY for n in range(3))
    return next(found for day in days if (found := moment(day, minutes_of(clock), zone)) > due)


@dataclass(frozen=True)
class Slot:
    """A run that waits and has not begun. ``timetable``: the id of its schedule; empty: somebody queued it."""

    id: str
    due: datetime
    policy: Policy
    timetable: str = ""
    pictures: int = 0


def skipped(
    slots: Iterable[Slot], now: datetime, since: datetime, made: Mapping[str, int] | None = None
) -> Iterator[tuple[Slot, str]]:
    """The runs that are not to start any more, each with the reason.

    Args:
        slots: all that are due.
        since: from when on runs could be started without a break; ``now`` while they can't be.
        made: pictures of this night by timetable; None: tonight's are not known, and none is skipped for them.
    """
    latest: dict[str, datetime] = {}
    due = sorted((one for one in slots if one.due <= now), key=lambda one: (one.due, one.id))
    for slot in due:
        latest[slot.timetable] = slot.due
    counts = dict(made or {})
    for slot in due:
        policy, total = slot.policy, counts.get(slot.timetable, 0) + slot.pictures
        if policy.not_after and now >= deadline(slot.due, policy.not_after):
            yield slot, f"it did not begin by {policy.not_after}, its latest time"
        elif slot.timetable and policy.missed != "all" and slot.due < latest[slot.timetable]:
            yield slot, "missed: a later run of the same timetable is due"
        elif slot.timetable and policy.missed == "none" and slot.due + IN_TIME < since:
            yield slot, "missed: no run could be started at its time"
        elif made is not None and slot.timetable and policy.at_most and total > policy.at_most:
            yield slot, f"its timetable makes at most {policy.at_most} pictures a night: {total} with this run"
        else:
            counts[slot.timetable] = total
