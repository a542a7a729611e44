"""``darkroom hours`` and ``darkroom timetable``: when the GPU may be used, and what timetables start in it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from cli.common import complain, queue_client, say
from cli.queue import Json

timetable = App(name="timetable", help="What timetables start in the next 24 hours; pause, resume and change them.")


def hours(
    windows: Annotated[str | None, Parameter(help="01:00-07:00 Europe/Berlin, or: mon-fri 22:00-06:00, …")] = None,
    *,
    exempt: Annotated[
        int | None, Parameter(help="Runs of this priority or a lower number start any time.", allow_leading_hyphen=True)
    ] = None,
    clear: Annotated[bool, Parameter(help="No hours: always open.", negative=())] = False,
) -> int:
    """Show, set or clear the hours in which the GPU may be used. The worker notices a change within seconds."""
    with queue_client() as client:
        from backlog.timetable import read_hours, set_hours
        from hours.windows import ALWAYS, Hours

        try:
            if windows or clear:
                found = ALWAYS if clear else Hours.read(windows)
                set_hours(found.model_copy(update={"exempt": exempt}) if found.windows else found)
            elif exempt is not None:
                raise ValueError('say the hours too: darkroom hours "01:00-07:00 Europe/Berlin" --exempt -10')
            found, now = read_hours(client), datetime.now(UTC)
        except ValueError as error:
            complain(error)
            return 2
        closes = found.closes(now)
        said = f"open until {found.clock(closes)}" if closes else "open"
        said = said if found.is_open(now) else f"closed until {found.clock(found.opens(now))}"
        say(f"GPU hours: {found}; now {said}")
    return 0


@timetable.default
def show(*, as_json: Json = False) -> int:
    """What runs in the next 24 hours, from every deployment, with expected ends."""
    with queue_client() as client:
        from backlog.timetable import planned, read_hours, timetables

        try:
            found, hours = planned(client, datetime.now(UTC)), read_hours(client)
        except ValueError as error:
            complain(error)
            return 1
        every = timetables(client)
    if as_json:
        runs, tables = ([one.model_dump(mode="json") for one in some] for some in (found, every))
        say(json.dumps({"hours": str(hours), "runs": runs, "timetables": tables}))
        return 0
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    table = Table("timetable", "of", "when", "", box=None)
    for one in every:
        table.add_row(one.name, one.deployment, one.when, "" if one.active else "off")
    console.print(table)
    say(f"\nGPU hours: {hours}. The next 24 hours, apart from what waits in the queue:")
    table = Table("due", "begins", "done by", "job", "", box=None)
    for run in found:
        note = f"skipped: {run.skipped}" if run.skipped else "goes on at the next opening" if run.pauses else ""
        begins, ends = (hours.clock(time) if time else "" for time in (run.begins, run.ends))
        table.add_row(hours.clock(run.due), begins, ends, run.deployment, note)
    console.print(table) if found else say("nothing")
    return 0


@timetable.command
def pause(name: str) -> int:
    """Switch off the timetables of a saved job (its name, or flow/name), or one by its own name."""
    return _switch(name, active=False)


@timetable.command
def resume(name: str) -> int:
    """Switch them on."""
    return _switch(name, active=True)


@timetable.command
def when(
    name: str,
    *,
    cron: str | None = None,
    interval: Annotated[float | None, Parameter(help="Seconds.")] = None,
    rrule: str | None = None,
    timezone: str = "UTC",
) -> int:
    """Give them other times."""
    with queue_client() as client:
        from backlog.timetable import change_when
        from deployments.manifest import ScheduleEntry
        from flows.job import explain

        try:
            entry = ScheduleEntry(slug="changed", cron=cron, interval=interval, rrule=rrule, timezone=timezone)
        except ValueError as error:
            complain(explain(error))
            return 2
        for one in change_when(client, name, entry):
            say(f"{one.deployment}: {one.when}, {'on' if one.active else 'off'}")
    return 0


def _switch(name: str, *, active: bool) -> int:
    with queue_client() as client:
        from backlog.timetable import switch

        for one in switch(client, name, active):
            say(f"{one.deployment}: {one.when}, {'on' if one.active else 'off'}")
    return 0
