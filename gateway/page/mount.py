"""The page on the gateway's application."""

from __future__ import annotations

from fastapi import FastAPI
from nicegui import app as page
from nicegui import ui

from gateway.page import live, queue


def mount(app: FastAPI) -> None:
    """Put the page below the application's own routes: what none of them answers is the page's."""
    for screen in (queue,):
        screen.build(app.state)
    page.on_startup(live.follow_events)
    # NiceGUI's own style library would be compiled in the browser at each visit: page.css is a tenth of it.
    ui.run_with(app, title="Darkroom", favicon=live.FAVICON, dark=True, tailwind=False, show_welcome_message=False)
