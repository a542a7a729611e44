"""When the GPU may be used: windows of hours in a time zone, by weekday.

A window begins and ends by the local clock. Where daylight saving skips its begin or its end, the first minute after
the skipped hour counts, and a window that lies in the skipped hour altogether does not open that night; where an hour
comes twice, its first time counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
WHOLE_DAY = 24 * 60  # minutes
AROUND = (
    15  # days before and after a moment whose windows are looked at: one a week, of which daylight saving skips one
)
MOST_SPANS = 1000  # nights that a piece of work may take
EXAMPLE = "01:00-07:00 Europe/Berlin, or: mon-fri 22:00-06:00, sat-sun 00:00-24:00 Europe/Berlin"

Span = tuple[datetime, datetime]  # begin and end, in UTC


def known_zone(name: str) -> str:
    """
    Raises:
        ValueError: there is no such time zone.
    """
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # zoneinfo's: unknown, no name of a file, a folder of the zone files
        raise ValueError(f"{name}: no such time zone; write one such as Europe/Berlin") from None
    return name


Zone = Annotated[str, AfterValidator(known_zone)]


def minutes_of(clock: str) -> int:
    """``HH:MM``, up to 24:00, in minutes after midnight.

    Raises:
        ValueError: it is no such time.
    """
    found = re.fullmatch(r"(\d\d):([0-5]\d)", clock)
    if not found or (minutes := 60 * int(found[1]) + int(found[2])) > WHOLE_DAY:
        raise ValueError(f"{clock}: no time of day; write it as 07:30")
    return minutes


def moment(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """When the clock of a zone first shows so many minutes after the midnight of a day, or the first minute later that
    it does show."""
    local = datetime.combine(day, time()) + minutes * MINUTE
    while local != (found := local.replace(tzinfo=zone).astimezone(UTC)).astimezone(zone).replace(tzinfo=None):
        local += MINUTE
    return found


@dataclass(frozen=True)
class Window:
    """One window: on each of ``days`` (0 is Monday) from ``begins`` to ``ends``, in minutes after its midnight."""

    days: frozenset[int]
    begins: int
    ends: int

    @classmethod
    def read(cls, text: str) -> Window:
        """A window from text: ``01:00-07:00`` (every day), ``mon-fri 22:00-06:00``, ``sat 00:00-24:00``. One that ends
        at an earlier hour than it begins ends on the next day.

        Raises:
            ValueError: it is none.
        """
        found = re.fullmatch(r"(?:(\w+)(?:-(\w+))? +)?(\d\d:\d\d)-(\d\d:\d\d)", text.strip().lower())
        if not found or not {found[1], found[2]} <= {*DAYS, None}:
            raise ValueError(f"{text}: no window of hours; write it as 01:00-07:00 or mon-fri 22:00-06:00")
        first = DAYS.index(found[1]) if found[1] else 0
        count = (DAYS.index(found[2]) - first) % 7 + 1 if found[2] else 1 if found[1] else 7
        begins, ends = minutes_of(found[3]), minutes_of(found[4])
        if begins == ends:
            raise ValueError(f"{text}: it ends when it begins; a whole day is 00:00-24:00")
        return cls(frozenset((first + n) % 7 for n in range(count)), begins, ends + WHOLE_DAY * (ends < begins))


def _is_window(text: str) -> str:
    Window.read(text)
    return text.strip().lower()


class Hours(BaseModel):
    """The GPU hours. ``exempt``: runs of this priority or a lower number may start at any time (lower runs first)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    windows: Annotated[tuple[Annotated[str, AfterValidator(_is_window)], ...], Field(min_length=1, max_length=50)]
    timezone: Zone = "UTC"
    exempt: int | None = None

    @classmethod
    def read(cls, value: Any) -> Hours:
        """From what the Prefect variable holds: None (no hours: always open), the model as JSON, or text as on the
        command line, windows separated by commas and then a time zone (else UTC).

        Raises:
            ValueError: in one line, what is wrong and how hours are written.
        """
        if value is None:
            return ALWAYS
        if isinstance(value, str):
            text, _, last = value.strip().rpartition(" ")
            zone = "" if re.match(r"[\d:-]+$", last) else last
            windows = (text if zone else value).split(",")
            value = {"windows": windows} | ({"timezone": zone} if zone else {})
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"these are no GPU hours: {said}. Write {EXAMPLE}") from None

    def __str__(self) -> str:
        if not self.windows:
            return "always"
        exempt = "" if self.exempt is None else f"; at any time runs of priority {self.exempt} and before"
        return f"{', '.join(self.windows)} {self.timezone}{exempt}"

    def clock(self, time: datetime) -> str:
        """A time of these hours for a person: in their time zone; in this machine's where there are none."""
        return f"{time.astimezone(ZoneInfo(self.timezone) if self.windows else None):%a %H:%M %Z}"

    def is_open(self, now: datetime) -> bool:
        return self.opens(now) == now

    def opens(self, now: datetime) -> datetime:
        """When runs may start again; ``now``, if they may now."""
        if not self.windows:
            return now
        return max(now, next(begin for begin, end in self._spans_around(now) if end > now))

    def closes(self, now: datetime) -> datetime | None:
        """The end of the opening that ``now`` is in, else of the next one; None: it does not close."""
        if not self.windows:
            return None
        spans = self._spans_around(now)
        end = next(end for _, end in spans if end > now)
        return None if len(spans) == 1 else end

    def night(self, now: datetime) -> datetime:
        """When the night began that ``now`` belongs to: a night is what lies between two openings. Where hours never
        close, it begins at noon by the clock of the time zone."""
        if self.closes(now) is None:
            zone = ZoneInfo(self.timezone)
            noons = (moment(now.astimezone(zone).date() - n * DAY, WHOLE_DAY // 2, zone) for n in (0, 1))
            return next(noon for noon in noons if noon <= now)
        return max(begin for begin, _ in self._spans_around(now) if begin <= now)

    def spans(self, start: datetime, seconds: float) -> list[Span]:
        """When so many seconds of work are done that may begin at ``start``: one span, or one of each opening that it
        takes. The end of the last one is the expected end."""
        left, spans = timedelta(seconds=seconds), list[Span]()
        while len(spans) < MOST_SPANS:
            begin = self.opens(start)
            start = self.closes(begin) or begin + left
            spans.append((begin, min(start, begin + left)))
            left -= spans[-1][1] - begin
            if not left:
                break
        return spans

    def _spans_around(self, now: datetime) -> tuple[Span, ...]:
        """The openings of two weeks before and after, in order; windows that touch are one."""
        return _spans(self, now.astimezone(ZoneInfo(self.timezone)).date())


@lru_cache(maxsize=256)
def _spans(hours: Hours, today: date) -> tuple[Span, ...]:
    zone, windows, found, spans = (
        ZoneInfo(hours.timezone),
        [Window.read(one) for one in hours.windows],
        [],
        list[Span](),
    )
    for day in (today + n * DAY for n in range(-AROUND, AROUND + 2)):
        for one in windows:
            begin, end = (moment(day, minutes, zone) for minutes in (one.begins, one.ends))
            if day.weekday() in one.days and begin < end:
                found.append((begin, end))
    for begin, end in sorted(found):
        if spans and begin <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((begin, end))
    return tuple(spans)


ALWAYS = Hours.model_construct(windows=(), timezone="UTC", exempt=None)  # no hours were set
