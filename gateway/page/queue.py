"""The queue: what runs, what waits, what has ended."""

from __future__ import annotations

from nicegui import ui
from starlette.datastructures import State

from gateway.page.frame import frame


def build(state: State) -> None:
    """Register the screen; ``state``: the gateway's, with its clients of Prefect and the WebUI."""

    @ui.page("/")
    async def queue_screen() -> None:
        with frame("/"):
            ui.label("Queue")
