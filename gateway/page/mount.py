"""The page on the gateway's application."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI
from nicegui import app as page
from nicegui import ui

from gateway.page import add, live, pictures, queue, saved, timetable

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#17171c"/>'
    '<circle cx="16" cy="16" r="8" fill="#ff7a59"/></svg>'
)


def mount(app: FastAPI) -> None:
    """Put the page below the application's own routes: what none of them answers is the page's."""
    for screen in (queue, add, pictures, saved, timetable):
        screen.build(app.state)
    page.on_startup(live.follow_events)
    page.on_startup(partial(live.follow_progress, app.state))
    # Without NiceGUI's style library, which is compiled in the browser at each visit: page.css is all that is needed.
    ui.run_with(app, title="Darkroom", favicon=FAVICON, dark=True, tailwind=False, show_welcome_message=False)
