"""The queue: what runs, what waits, what failed, what has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from fastapi.concurrency import run_in_threadpool
from nicegui import background_tasks, ui
from nicegui.events import KeyEventArguments, SortableEventArguments
from prefect.client.orchestration import SyncPrefectClient
from starlette.datastructures import State

from backlog import change, control, queue
from backlog.control import Pause
from backlog.order import count_waiting, in_order
from backlog.queue import Overview
from backlog.task import ENDED, Status, Task
from deployments.bootstrap import POOL
from gateway.page.edit import edit
from gateway.page.frame import clock, confirmed, do, duration, frame
from gateway.page.live import changed, progressed
from gateway.page.rows import Ended, Rows, Running, Waiting
from gateway.progress import Seen
from worker.readiness import VARIABLE

PAGE = 50  # waiting tasks on a screen
FAILED, HISTORY = 5, 20  # failed tasks and ended ones on a screen
FIRST_WITHIN = 0.4  # seconds that the first answer waits for its content; later it comes over the socket
NOT_OFTENER = 0.25  # seconds between two looks at the queue: a batch tells of a change with each picture
SUMS_NOT_OFTENER = 2.0  # seconds between two counts of all that has ended, which is a second's work with 20,000
HINT = "Keys: N adds a job, P pauses and resumes. On a waiting job: Alt+↑ Alt+↓ move it, Enter edits, Delete cancels."
PAUSES = {
    Pause.AFTER_TASK: "after the job that runs",
    Pause.AFTER_PICTURE: "after the picture that is painted",
    Pause.NOW: "now; its picture is painted again later",
}


@dataclass
class Listed:
    """The rows of a screen, and what Prefect tells of the queue as quickly; ``size``: how many wait."""

    paused: bool
    on_hold: list[str]
    size: int
    running: list[Task]
    waiting: list[Task]
    failed: list[Task]
    ended: list[Task]


def listed(client: SyncPrefectClient, offset: int, history: int | None) -> Listed:
    """The queue from ``offset`` on, and what has ended from ``history`` on; None: without it."""
    variable = client.read_variable_by_name(VARIABLE)
    return Listed(
        client.read_work_pool(POOL).is_paused,
        [str(reason) for reason in variable.value] if variable and isinstance(variable.value, list) else [],
        count_waiting(client),
        queue.running(client),
        queue.waiting(client, offset, PAGE),
        queue.history(client, [Status.FAILED, Status.STOPPED], 0, FAILED),
        [] if history is None else queue.history(client, ENDED, history, HISTORY),
    )


def move(client: SyncPrefectClient, task: UUID, old: int, new: int) -> None:
    """Move a waiting task from one place of the queue to another, both counted from 0."""
    behind = in_order(client, max(0, new) + (new > old), 1)
    change.move(client, task, behind[0].id if behind else "bottom")


def build(state: State) -> None:
    """Register the screen; ``state``: the gateway's, with its clients of Prefect and the WebUI."""

    @ui.page("/")
    async def queue_screen() -> None:
        with frame("/"):
            screen = QueueScreen(state)
        await asyncio.wait([background_tasks.create(screen.refresh())], timeout=FIRST_WITHIN)


class OneAtATime:
    """Calls ``work`` never twice at a time: calls during one are one more after it, and after a pause in seconds."""

    def __init__(self, work: Callable[[], Awaitable[None]], pause: float) -> None:
        self._work, self._pause = work, pause
        self._working = self._again = False

    async def call(self) -> None:
        self._again = True
        if self._working:
            return
        self._working = True
        try:
            while self._again:
                self._again = False
                await self._work()
                await asyncio.sleep(self._pause)
        finally:
            self._working = False


class QueueScreen:
    """The screen of one visitor."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._client: SyncPrefectClient = state.prefect
        self._visitor = ui.context.client
        self.refresh = OneAtATime(self._look, NOT_OFTENER).call
        self._refresh_sums = OneAtATime(self._count, SUMS_NOT_OFTENER).call
        self._paused = False
        with ui.element("div").classes("head"):
            with ui.element("div"):
                ui.label("Queue").classes("title").props("role=heading aria-level=1")
                self.summary = ui.label().classes("row-about").props("role=status")
            ui.space()
            ui.button("Add", icon="add", on_click=lambda: ui.navigate.to("/add")).props("unelevated")
            self.resume = ui.button("Resume", icon="play_arrow", on_click=self._resume).props("outline")
            with ui.dropdown_button("Pause", icon="pause", auto_close=True).props("outline") as self.pause:
                for when, text in PAUSES.items():
                    ui.item(text[0].upper() + text[1:], on_click=partial(self._pause, when))
        with ui.element("div").classes("banner").props("role=status") as self.banner:
            ui.icon("pause_circle").props("aria-hidden=true")
            self.why = ui.label()
        self.running_title = ui.label("Running").classes("section").props("role=heading aria-level=2")
        self.running = Rows("Running", Running, self._act)
        with ui.element("div").classes("head section"):
            self.waiting_title = ui.label().props("role=heading aria-level=2")
            ui.space()
            self.pages = ui.pagination(1, 1, value=1, on_change=self.refresh).props("max-pages=6 boundary-numbers flat")
        self.waiting = Rows("Waiting", Waiting, self._act)
        self.waiting.element.make_sortable(on_end=self._dropped, handle=".handle")
        with ui.element("div").classes("empty") as self.empty:
            ui.label("Nothing waits.")
            ui.link("Add a job: from a form, a picture or its parameters", "/add")
        with ui.element("div").classes("head section") as self.failed_head:
            self.failed_title = ui.label("Failed").props("role=heading aria-level=2")
            ui.space()
            ui.button("Retry all", icon="replay", on_click=self._retry_all).props("flat dense")
        self.failed = Rows("Failed", Ended, self._act)
        self._build_history()
        ui.label(HINT).classes("hint wide-only")
        ui.keyboard(on_key=self._key)
        for later in (
            self.resume,
            self.banner,
            self.running_title,
            self.pages,
            self.empty,
            self.failed_head,
            self.history,
        ):
            later.set_visibility(False)
        changed.subscribe(self.refresh)
        changed.subscribe(self._refresh_sums)
        background_tasks.create(self._refresh_sums())
        progressed.subscribe(self._progress)

    def _build_history(self) -> None:
        with ui.expansion("History", icon="history", on_value_change=self.refresh).classes("section") as self.history:
            with ui.element("div").classes("head"):
                self.history_pages = ui.pagination(1, 1, value=1, on_change=self.refresh).props("max-pages=6 flat")
                ui.space()
                ui.button("Clear the history", icon="delete_sweep", on_click=self._clear).props("flat dense")
            self.ended = Rows("History", Ended, self._act)

    async def _look(self) -> None:
        first = ((self.history_pages.value or 1) - 1) * HISTORY if self.history.value else None
        offset = ((self.pages.value or 1) - 1) * PAGE
        found = await run_in_threadpool(listed, self._client, offset, first)
        if not self._visitor.is_deleted:
            self._show(found)

    async def _count(self) -> None:
        found = await run_in_threadpool(queue.overview, self._client)
        if not self._visitor.is_deleted:
            self._sum_up(found)

    def _show(self, found: Listed) -> None:
        self._paused = found.paused
        self.resume.set_visibility(found.paused)
        self.pause.set_visibility(not found.paused)
        why = ["Paused: nothing new starts until you resume."] * found.paused
        why += [f"On hold: {reason}" for reason in found.on_hold]
        self.why.set_text("\n".join(why))
        self.banner.set_visibility(bool(why))
        self.running_title.set_visibility(bool(found.running))
        self.running.show(found.running)
        self.waiting_title.set_text(f"Waiting ({found.size:,})")
        self.pages.max = max(1, -(-found.size // PAGE))
        self.pages.set_visibility(found.size > PAGE)
        self.waiting.show(found.waiting)
        self.empty.set_visibility(not found.size and not found.running)
        self.failed_head.set_visibility(bool(found.failed))
        self.failed.show(found.failed)
        self.ended.show(found.ended)

    def _sum_up(self, found: Overview) -> None:
        ended = sum(found.counts[one] for one in ENDED)
        failed = found.counts[Status.FAILED] + found.counts[Status.STOPPED]
        is_known = found.eta and not found.paused
        self.summary.set_text(f"All done at about {clock(found.eta)}, in {duration(found.eta)}" if is_known else "")
        self.failed_title.set_text(f"Failed ({failed:,})" + (f", the last {FAILED}" if failed > FAILED else ""))
        self.history.set_text(f"History ({ended:,})")
        self.history.set_visibility(bool(ended))
        self.history_pages.max = max(1, -(-ended // HISTORY))

    def _progress(self, running: list[tuple[Task, Seen]]) -> None:
        for task, seen in running:
            if (row := self.running.rows.get(task.id)) is not None:
                row.show(task)
                row.progress(seen)

    async def _act(self, what: str, task: Task) -> None:
        """Do an operation of the rows' buttons, menus and keys."""
        place = (task.position or 1) - 1
        changes: dict[str, tuple[str, Callable[..., object], tuple[object, ...]]] = {
            "top": (f"{task.name} is next", change.move, (task.id, "top")),
            "bottom": (f"{task.name} is last", change.move, (task.id, "bottom")),
            "up": ("", move, (task.id, place, place - 1)),
            "down": ("", move, (task.id, place, place + 1)),
            "duplicate": (f"{task.name} is queued once more", change.duplicate, (task.id,)),
            "cancel": (f"{task.name} is cancelled", change.cancel, (task.id,)),
            "retry": (f"{task.name} is back in the queue", change.retry, (task.id,)),
            "delete": (f"{task.name} is deleted", change.delete, (task.id,)),
        }
        if what == "again":
            ui.navigate.to(f"/add?task={task.id}")
        elif what == "edit":
            await edit(self._state, task)
        elif what == "up" and not place:
            return
        else:
            done, function, arguments = changes[what]
            await do(done, function, self._client, *arguments)

    async def _dropped(self, event: SortableEventArguments) -> None:
        """A row was dragged to another place, where it stands already."""
        row = next(row for row in self.waiting.rows.values() if row.element is event.item)
        old, shift = (row.task.position or 1) - 1, event.new_index - event.old_index
        if shift:
            try:
                await do("", move, self._client, row.task.id, old, old + shift)
            finally:
                await self.refresh()  # where it was refused, back to its place

    async def _pause(self, when: Pause) -> None:
        await do(f"Paused {PAUSES[when].partition(';')[0]}", control.pause, self._client, when)

    async def _resume(self) -> None:
        await do("The queue goes on", control.resume, self._client)

    async def _retry_all(self) -> None:
        await do("All that failed is back in the queue", control.retry_failed, self._client)

    async def _clear(self) -> None:
        if await confirmed("Remove all that has ended from the history? Pictures stay in the gallery.", "Clear"):
            await do("The history is cleared", control.clear, self._client)

    async def _key(self, event: KeyEventArguments) -> None:
        if not event.action.keydown or event.action.repeat or any(event.modifiers):
            return
        if event.key == "n":
            ui.navigate.to("/add")
        elif event.key == "p":
            await (self._resume() if self._paused else self._pause(Pause.AFTER_TASK))
