"""The timetable: the GPU hours, what runs in the next 24 hours, and each timetable's switch and times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from prefect.client.orchestration import SyncPrefectClient
from pydantic import ValidationError
from starlette.datastructures import State

from backlog.timetable import Planned, Timetable, change_when, planned, read_hours, set_hours, switch, timetables
from deployments.manifest import ScheduleEntry
from flows.job import explain
from gateway.page.frame import Part, button, do, frame
from gateway.page.live import changed
from gateway.page.switches import Switches
from hours.windows import ALWAYS, EXAMPLE, Hours

KINDS = {"cron": "cron", "interval": "every so many seconds", "rrule": "rrule"}


@dataclass(frozen=True)
class Listed:
    """What the screen shows; ``problem``: why the GPU hours can't be read."""

    hours: Hours
    runs: list[Planned]
    timetables: list[Timetable]
    problem: str = ""


def listed(client: SyncPrefectClient) -> Listed:
    every = timetables(client)
    try:
        return Listed(read_hours(client), planned(client, datetime.now(UTC)), every)
    except ValueError as error:
        return Listed(ALWAYS, [], every, str(error))


def build(state: State) -> None:
    """Register the screen."""

    @ui.page("/timetable")
    async def timetable_screen() -> None:
        with frame("/timetable"):
            ui.label("Timetable").classes("title").props("role=heading aria-level=1")
            hours, runs, every = Part("GPU hours"), Part("The next 24 hours"), Part("Timetables")
        switches = Switches()

        async def refresh() -> None:
            found = await run_in_threadpool(listed, state.prefect)
            if hours.box.is_deleted:
                return
            hours.show((found.hours, found.problem), partial(_hours, state.prefect, found))
            runs.show((found.hours, found.runs), partial(_runs, found))
            structure = [one.model_copy(update={"active": True}) for one in found.timetables]
            every.show(structure, partial(_timetables, state.prefect, found.timetables, switches))
            switches.follow({_key(one): one.active for one in found.timetables})

        changed.subscribe(refresh)
        await refresh()


def _key(one: Timetable) -> str:
    return f"{one.deployment} {one.name}"


def _runs(found: Listed) -> None:
    with ui.element("ul").classes("rows plain"):
        for run in found.runs:
            _run(found.hours, run)
        if not found.runs:
            with ui.element("li").classes("empty"):
                ui.label("No timetable starts anything.")


def _timetables(client: SyncPrefectClient, every: list[Timetable], switches: Switches) -> None:
    with ui.element("ul").classes("rows plain"):
        for one in every:
            _timetable(client, one, switches)


def _hours(client: SyncPrefectClient, found: Listed) -> None:
    now = datetime.now(UTC)
    closes = found.hours.closes(now)
    said = f"Open until {found.hours.clock(closes)}." if closes else "Always open."
    if not found.hours.is_open(now):
        said = f"Closed until {found.hours.clock(found.hours.opens(now))}. What is under way goes on then."
    ui.label(found.problem or said).classes("row-about").props("role=status")
    with ui.element("div").classes("head"):
        text = ui.input("Hours", value=_written(found.hours), placeholder=EXAMPLE)
        text.props("outlined dense").style("flex: 1; min-width: 240px")

        async def save() -> None:
            try:
                wanted = Hours.read(text.value) if text.value.strip() else ALWAYS
            except ValueError as error:
                text.error = str(error)
                return
            wanted = wanted.model_copy(update={"exempt": found.hours.exempt}) if wanted.windows else wanted
            await do("The worker takes them up within seconds", set_hours, wanted)

        ui.button("Set", on_click=save).props("outline")


def _written(hours: Hours) -> str:
    """As a person writes them, without the exempt priority."""
    return f"{', '.join(hours.windows)} {hours.timezone}" if hours.windows else ""


def _run(hours: Hours, run: Planned) -> None:
    if run.skipped:
        about = f"skipped: {run.skipped}"
    else:
        begins, ends = (hours.clock(time) if time else "" for time in (run.begins, run.ends))
        about = f"begins {begins}" + (f", done by {ends}" if ends else "")
        about += ", stops at closing and goes on at the next opening" if run.pauses else ""
    with ui.element("li").classes("row-card"):
        ui.label(hours.clock(run.due)).classes("row-eta")
        with ui.element("div").classes("row-text"):
            ui.label(run.deployment.partition("/")[2]).classes("row-name")
            ui.label(about).classes("row-about")


def _timetable(client: SyncPrefectClient, one: Timetable, switches: Switches) -> None:
    name = one.deployment.partition("/")[2]

    async def turn(on: bool) -> None:
        done = f"{name} runs {one.when}" if on else f"{name} is paused"
        await do(done, switch, client, one.deployment, on)

    with ui.element("li").classes("row-card"):
        with ui.element("div").classes("row-text"):
            ui.label(name).classes("row-name")
            ui.label(one.when).classes("row-about")
        switches.add(_key(one), "", f"On: {name}, {one.when}", one.active, turn)
        button("edit", f"Change when {name} runs", partial(_change, client, one), tooltip="Change when")


def _change(client: SyncPrefectClient, one: Timetable) -> None:
    name = one.deployment.partition("/")[2]
    with ui.dialog() as dialog, ui.card().props(f'aria-label="When {name} runs"'):
        kind = ui.select(KINDS, value="cron", label="By").props("outlined dense").classes("w-full")
        value = ui.input("When", placeholder="30 2 * * *").props("outlined dense autofocus")
        zone = ui.input("Time zone", value=one.when.rpartition(" ")[2]).props("outlined dense")

        async def save() -> None:
            try:
                entry = ScheduleEntry.model_validate(
                    {"slug": "changed", kind.value: value.value, "timezone": zone.value}
                )
            except ValidationError as error:
                value.error = explain(error)
                return
            await do(f"{name} has other times", change_when, client, one.deployment, entry)
            dialog.close()

        with ui.element("div").classes("head"):
            ui.space()
            ui.button("Keep", on_click=dialog.close).props("flat")
            ui.button("Change", on_click=save).props("unelevated")
    dialog.open()
