"""A waiting task changed in place, in a dialog."""

from __future__ import annotations

from typing import Any

from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from starlette.datastructures import State

from backlog import change
from backlog.task import InvalidJob, Task
from gateway.page.form import JobForm
from gateway.page.frame import do
from gateway.page.offered import offered


async def edit(state: State, task: Task) -> None:
    """Let a person change a task's job; it keeps its place.

    Raises:
        InvalidJob: it is no single job.
    """
    if not isinstance(task.params.get("job"), dict):
        raise InvalidJob(f"{task.name} is a file of many jobs: queue its file again instead")
    lists = await run_in_threadpool(offered, state.webui)
    with ui.dialog().props("persistent") as dialog, ui.card().classes("dialog"):
        ui.label(f"Edit {task.name}").classes("title").props("role=heading aria-level=2")
        form = JobForm(task.params["job"], lists)

        async def save() -> None:
            if (job := await form.checked()) is not None:
                changes = difference(task.params["job"], job.parameters())
                await do(f"{job.name} is changed", change.edit, state.prefect, task.id, changes)
                dialog.close()

        with ui.element("div").classes("actions"):
            ui.space()
            ui.button("Close", on_click=dialog.close).props("flat")
            ui.button("Save", on_click=save).props("unelevated")
    dialog.on("hide", dialog.delete)
    dialog.on("keydown.esc", dialog.close)
    dialog.open()


def difference(before: Any, after: Any) -> Any:
    """What change.edit is to lay over one job to make another of it: None where a field is to go."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    return {name: difference(before.get(name), after.get(name)) for name in {**before, **after}}
