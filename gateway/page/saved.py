"""The saved jobs: run, run with changes, switch a schedule, delete."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import UUID

from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.utilities.urls import url_for
from starlette.datastructures import State

from backlog import queue
from backlog.task import Refused
from backlog.timetable import when_of
from deployments.saved import remove, saved_jobs
from gateway.page.frame import Part, button, confirmed, do, frame, link_out
from gateway.page.live import changed
from gateway.page.switches import Switches


def build(state: State) -> None:
    """Register the screen."""

    @ui.page("/saved")
    async def saved_screen() -> None:
        with frame("/saved"):
            ui.label("Saved jobs").classes("title").props("role=heading aria-level=1")
            jobs = Part()
        switches = Switches()

        async def refresh() -> None:
            found = await run_in_threadpool(saved_jobs, state.prefect)
            if jobs.box.is_deleted:
                return
            schedules = [schedule for one in found.values() for schedule in one.schedules]
            said = [(one.id, when_of(one)) for one in schedules]
            shown = [said, [(name, one.parameters, one.description) for name, one in sorted(found.items())]]
            jobs.show(shown, partial(_rows, state.prefect, found, switches))
            switches.follow({str(one.id): one.active for one in schedules})

        changed.subscribe(refresh)
        await refresh()


def _rows(client: SyncPrefectClient, found: dict[str, DeploymentResponse], switches: Switches) -> None:
    with ui.element("ul").classes("rows plain"):
        for name, deployment in sorted(found.items()):
            _row(client, name, deployment, switches)
        if not found:
            with ui.element("li").classes("empty"):
                ui.label("No job is saved yet: Save on the screen Add does it.")


def _row(client: SyncPrefectClient, name: str, deployment: DeploymentResponse, switches: Switches) -> None:
    short = name.partition("/")[2]
    job: dict[str, Any] = deployment.parameters.get("job") or {}
    with ui.element("li").classes("row-card"):
        with ui.element("div").classes("row-text"):
            ui.label(short).classes("row-name")
            ui.label((job.get("txt2img") or {}).get("prompt", "")).classes("row-prompt")
            about = filter(None, [job.get("checkpoint"), deployment.description])
            ui.label(" · ".join(map(str, about))).classes("row-about")
            for schedule in deployment.schedules:
                _switch(client, short, deployment.id, schedule, switches)
        link_out("Prefect", url_for(deployment) or "", f"{short} in Prefect").classes("quiet wide-only")
        run = partial(do, f"{short} is queued", queue.create, client, deployment.id, short, deployment.parameters)
        button("play_arrow", f"Run: {short}", run, tooltip="Run")
        if job:
            again = partial(ui.navigate.to, f"/add?saved={quote(name)}")
            button("edit_note", f"Run with changes: {short}", again, tooltip="Run with changes")
        button("delete_outline", f"Delete: {short}", partial(_delete, client, name), tooltip="Delete")


def _switch(
    client: SyncPrefectClient, name: str, deployment: UUID, schedule: DeploymentSchedule, switches: Switches
) -> None:
    """A schedule and its switch."""
    said = when_of(schedule)

    async def turn(on: bool) -> None:
        done = f"{name} runs {said}" if on else f"{name} does not run {said}"
        await do(done, client.update_deployment_schedule, deployment, schedule.id, active=on)

    switches.add(str(schedule.id), said, f"{name}: {said}", schedule.active, turn)


async def _delete(client: SyncPrefectClient, name: str) -> None:
    if await confirmed(f"Delete the saved job {name.partition('/')[2]}? Its pictures stay.", "Delete"):
        await do("", _removed, client, name)


def _removed(client: SyncPrefectClient, name: str) -> None:
    if not remove(client, name):
        raise Refused(f"{name} has a job that waits or runs: cancel it, or let it end, and delete it then")
