"""What all screens share: theme, header, how an operation on the queue is done, and how its errors are told."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import httpx
from fastapi.concurrency import run_in_threadpool
from nicegui import ui

from backlog.task import QueueError
from deployments.saved import NotSaved
from gateway.page.live import changed
from services.environment import ui_url

SCREENS = {  # address: name, icon
    "/": ("Queue", "format_list_numbered"),
    "/add": ("Add", "add_circle_outline"),
    "/gallery": ("Pictures", "photo_library"),
    "/saved": ("Saved jobs", "bookmark_border"),
    "/timetable": ("Timetable", "schedule"),
}
P = ParamSpec("P")
R = TypeVar("R")
EXPECTED = (QueueError, NotSaved, FileNotFoundError, PermissionError)  # their messages are for a person


@contextmanager
def frame(address: str) -> Iterator[None]:
    """A screen: the header with the way to the others, and in the ``with`` block its content.

    Args:
        address: the screen's own, of ``SCREENS``.
    """
    name, _ = SCREENS[address]
    ui.on_exception(tell)
    ui.page_title(f"{name} · Darkroom")
    ui.add_css(Path(__file__).with_name("page.css"))
    ui.colors(primary="#ff7a59", dark="#17171c", dark_page="#0f0f12", negative="#ff5c6c", positive="#4cc38a")
    with ui.header().classes("top"), ui.element("nav").props('aria-label="Screens"').classes("nav"):
        ui.link("Darkroom", "/").classes("brand").props('aria-label="Darkroom: the queue"')
        for target, (label, icon) in SCREENS.items():
            here = " aria-current=page" if target == address else ""
            with ui.link(target=target).classes("nav-link").props(f'aria-label="{label}"{here}'):
                ui.icon(icon).props("aria-hidden=true")
                ui.label(label).classes("wide-only")
        ui.space()
        link_out("Prefect", ui_url(), "The Prefect UI").classes("nav-link")
    with ui.element("section").classes("content").props(f'aria-label="{name}"') as content:
        yield
    ui.skip_link("To the content", target=content)


class Part:
    """A part of a screen, drawn anew only where it has changed: a control that a person is about to click, or a field
    that is being written in, stays what it is."""

    def __init__(self, title: str = "") -> None:
        if title:
            ui.label(title).classes("section").props("role=heading aria-level=2")
        self.box = ui.element("div")
        self._shown: Any = None

    def show(self, what: Any, draw: Callable[[], None]) -> None:
        """Have ``draw`` draw it, if ``what`` it shows is not what it shows already."""
        if what != self._shown:
            self._shown = what
            self.box.clear()
            with self.box:
                draw()


async def do(done: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Do an operation on the queue in a thread (Prefect's client blocks), say ``done``, and have every open page look
    again. Its errors are those of the function; uncaught, they are shown by :func:`tell`.
    """
    result = await run_in_threadpool(function, *args, **kwargs)
    if done:
        ui.notify(done, timeout=2500)
    changed.emit()
    return result


def tell(error: Exception) -> None:
    """Show the person what went wrong."""
    if isinstance(error, EXPECTED):
        said = str(error)
    elif isinstance(error, httpx.HTTPError):
        said = f"Prefect's server did not answer ({type(error).__name__}): is `darkroom up` running?"
    else:
        said = f"That went wrong ({type(error).__name__}): logs/gateway.log has more"
    ui.notify(said, type="negative", multi_line=True, timeout=8000, close_button="Close")


def _is_unexpected(record: logging.LogRecord) -> bool:
    """What was told to the person needs no traceback in the log."""
    return not (record.exc_info and isinstance(record.exc_info[1], EXPECTED))


logging.getLogger("nicegui").addFilter(_is_unexpected)


def link_out(text: str, address: str, name: str) -> ui.link:
    """A link to a page of another server, in a tab of its own; ``name``: what it leads to, for a screen reader."""
    made = ui.link(text, address, new_tab=True)
    made.props["aria-label"] = name
    return made.props("rel=noreferrer")


def button(icon: str, name: str, on_click: Callable[[], object], tooltip: str = "") -> ui.button:
    """A button that is an icon; ``name``: what it does, for a screen reader, ``tooltip``: the same in short."""
    made = ui.button(icon=icon, color=None, on_click=on_click).classes("icon-button")
    made.props["aria-label"] = name
    made.props["title"] = tooltip or name
    return made.props("flat dense round")


def plural(count: int, noun: str) -> str:
    """``1 picture``, ``1,000 pictures``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


async def confirmed(question: str, yes: str) -> bool:
    """Whether a person says yes to what can't be undone."""
    with ui.dialog() as dialog, ui.card():
        ui.label(question)
        with ui.element("div").classes("head"):
            ui.space()
            ui.button("Keep", on_click=lambda: dialog.submit(False)).props("flat")
            ui.button(yes, on_click=lambda: dialog.submit(True)).props("unelevated color=negative")
    answer: Awaitable[bool | None] = dialog
    return bool(await answer)


def duration(seconds: float | None) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min``; empty: not known."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def clock(seconds: float | None) -> str:
    """The local time in so many seconds, ``14:05``, with its weekday where it is not today; empty: not known."""
    if seconds is None:
        return ""
    now = datetime.now().astimezone()
    then = datetime.fromtimestamp(now.timestamp() + seconds).astimezone()
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%a %H:%M}"
