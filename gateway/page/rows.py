"""The rows of the queue's screen: one element for each task, which stays while its task does.

A list that is rebuilt at each change would take the keyboard's focus away, and send all of it again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import UUID

from nicegui import ui

from backlog.task import Status, Task
from gateway.page.frame import button, clock, duration, link_out, plural
from gateway.progress import Seen
from store.settings import settings

Act = Callable[[str, Task], Any]  # does the named operation on a task
ACTIONS = {  # name of the operation: what a person reads, icon
    "edit": ("Edit", "edit"),
    "top": ("To the top: next", "vertical_align_top"),
    "up": ("Up", "keyboard_arrow_up"),
    "down": ("Down", "keyboard_arrow_down"),
    "bottom": ("To the bottom", "vertical_align_bottom"),
    "duplicate": ("Duplicate", "content_copy"),
    "again": ("Duplicate with changes", "edit_note"),
    "cancel": ("Cancel", "close"),
    "retry": ("Retry", "replay"),
    "delete": ("Delete", "delete_outline"),
}


class Row:
    """A task on the screen."""

    def __init__(self, task: Task, act: Act) -> None:
        self.task = task
        self.element = ui.element("li").classes("row-card").props(f"tabindex=0 data-task={task.id}")
        with self.element:
            self.build(lambda what: act(what, self.task))

    def build(self, act: Callable[[str], Any]) -> None:
        raise NotImplementedError

    def show(self, task: Task) -> None:
        self.task = task

    def _button(self, what: str, act: Callable[[str], Any], classes: str = "") -> ui.button:
        name, icon = ACTIONS[what]
        made = button(icon, f"{name}: {self.task.name}", lambda: act(what), tooltip=name)
        return made.classes(classes)

    def _text(self) -> None:
        """The task's name, prompt and what is said of it, which ``show`` fills in."""
        with ui.element("div").classes("row-text"):
            self.name = ui.label().classes("row-name")
            self.prompt = ui.label().classes("row-prompt")
            self.about = ui.label().classes("row-about")

    def _say(self, task: Task, about: str, prompt: str | None = None) -> None:
        self.name.set_text(task.name)
        self.prompt.set_text(task.prompt if prompt is None else prompt)
        self.about.set_text(about)

    def _menu(self, act: Callable[[str], Any], *actions: str) -> None:
        """The operations that have no button of their own. Its entries are made when it is opened: a list has many."""
        made = button("more_vert", f"More: {self.task.name}", lambda: None, tooltip="More")
        with made, ui.menu() as menu:
            pass

        def fill() -> None:
            menu.clear()
            with menu:
                for what in actions:
                    name, icon = ACTIONS[what]
                    with ui.menu_item(on_click=lambda what=what: act(what)).classes("menu-entry"):
                        ui.icon(icon).props("aria-hidden=true")
                        ui.label(name)
                with ui.menu_item(on_click=lambda: ui.navigate.to(self.task.link, new_tab=True)).classes("menu-entry"):
                    ui.icon("open_in_new").props("aria-hidden=true")
                    ui.label("Open in Prefect")

        made.on("mousedown", fill).on("focus", fill)


class Waiting(Row):
    def build(self, act: Callable[[str], Any]) -> None:
        ui.icon("drag_indicator").classes("handle").props("aria-hidden=true")
        self.position = ui.label().classes("row-position")
        self._text()
        self.eta = ui.label().classes("row-eta")
        self._button("up", act, "wide-only")
        self._button("down", act, "wide-only")
        self._button("edit", act, "wide-only")
        self._menu(act, "edit", "top", "up", "down", "bottom", "duplicate", "again", "cancel", "delete")
        keys = {"keydown.alt.up.prevent": "up", "keydown.alt.down.prevent": "down"}
        keys |= {"keydown.self.enter": "edit", "keydown.self.delete": "cancel"}
        for key, what in keys.items():
            self.element.on(key, lambda what=what: act(what), args=[])

    def show(self, task: Task) -> None:
        super().show(task)
        self.position.set_text(str(task.position))
        about = [task.checkpoint, plural(task.pictures, "picture") if task.pictures else task.task_type]
        about += [f"priority {task.priority}"] * bool(task.priority)
        self._say(task, " · ".join([*filter(None, about), *([task.info] if task.info else [])]))
        self.eta.set_text(clock(task.eta))
        self.eta.props(f'title="finished in about {duration(task.eta)}"')


class Running(Row):
    """A task under way; ``progress`` is told twice a second how far it is."""

    def build(self, act: Callable[[str], Any]) -> None:
        self.element.classes("running")
        self.preview = ui.image().classes("preview").props('no-spinner no-transition fit=contain alt="Live preview"')
        with ui.element("div").classes("running-text"):
            self._text()
            self.bar = ui.linear_progress(0, show_value=False, size="8px").props('rounded aria-label="Progress"')
            self.step = ui.label().classes("row-about").props("role=status")
        link_out("Prefect", self.task.link, f"{self.task.name} in Prefect").classes("quiet wide-only")
        self._button("cancel", act)

    def show(self, task: Task) -> None:
        super().show(task)
        done = len(task.result_images)
        count = f" ({min(done, task.pictures)}/{task.pictures})" if task.pictures > 1 else ""
        word = {"Cancelling": "Cancelling", "Waiting": "Waits for the GPU"}.get(task.state, "Running")
        self._say(task, " · ".join(filter(None, [f"{word}{count}", task.checkpoint])))

    def progress(self, seen: Seen) -> None:
        self.bar.set_value(round(seen.fraction, 3))
        step = f"step {seen.step}/{seen.steps}" if seen.step is not None else ""
        left = ""
        if self.task.eta:  # as it was when the task was ``progress`` far
            left = f"about {duration(self.task.eta * (1 - seen.fraction) / max(0.01, 1 - self.task.progress))} left"
        self.step.set_text(" · ".join(filter(None, [step, f"{seen.fraction:.0%}", left])))
        if seen.preview:
            self.preview.set_source(seen.preview)


class Ended(Row):
    """A task that has ended: why it failed, or its first picture."""

    def build(self, act: Callable[[str], Any]) -> None:
        self.element.classes("ended")
        self.status = ui.badge().classes("status")
        if address := picture_address(self.task):
            with link_out("", address, f"First picture of {self.task.name}"):
                ui.element("img").classes("thumbnail").props(f'src="{address}" loading=lazy alt=""')
        self._text()
        link_out("Prefect", self.task.link, f"{self.task.name} in Prefect").classes("quiet wide-only")
        if self.task.status is not Status.COMPLETED:
            self._button("retry", act)
        self._menu(act, "duplicate", "again", "delete")

    def show(self, task: Task) -> None:
        super().show(task)
        color = {Status.COMPLETED: "positive", Status.CANCELLED: "grey-8"}.get(task.status, "negative")
        self.status.set_text(task.status.value)
        self.status.props(f"color={color}")
        when = f"{task.completed.astimezone():%a %H:%M}" if task.completed else ""
        pictures = plural(len(task.result_images), "picture") if task.result_images else ""
        self._say(task, " · ".join(filter(None, [when, pictures, task.checkpoint])), first_sentence(task.error))


Kind = TypeVar("Kind", bound=Row)


class Rows(Generic[Kind]):
    """A list of tasks; ``kind`` makes the row of one."""

    def __init__(self, name: str, kind: type[Kind], act: Act) -> None:
        self._kind, self._act = kind, act
        self.rows: dict[UUID, Kind] = {}
        with ui.element("div").classes("rows-box"):
            self.element = ui.column().classes("rows").props(f'role=list aria-label="{name}"')

    def show(self, tasks: Sequence[Task]) -> None:
        """Show these tasks, in this order."""
        wanted = {task.id for task in tasks}
        for gone in self.rows.keys() - wanted:
            self.rows.pop(gone).element.delete()
        for index, task in enumerate(tasks):
            if (row := self.rows.get(task.id)) is None:
                with self.element:
                    row = self.rows[task.id] = self._kind(task, self._act)
            if row.task is task or row.task != task:
                row.show(task)
            if self.element.default_slot.children[index] is not row.element:
                row.element.move(target_index=index)


def first_sentence(error: str | None) -> str | None:
    """The first line of what went wrong, without Prefect's words before it; the rest is on the run's page."""
    if not error:
        return None
    line = re.sub(r"^Flow run encountered an exception: (\w+: )?", "", error.strip()).splitlines()[0]
    return line if len(line) <= 240 else f"{line[:240]}…"


def picture_address(task: Task) -> str:
    """The gateway's address of a task's first picture; empty: none is in this machine's gallery."""
    gallery = Path(settings().gallery).resolve()
    first = Path(task.result_images[0]) if task.result_images else None
    if first is None or not first.is_relative_to(gallery):
        return ""
    return f"/pictures/{quote(first.relative_to(gallery).as_posix())}"
