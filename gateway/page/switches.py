"""Switches of schedules, which stay the same elements while what they show follows Prefect.

A click on an element that is drawn anew at that moment is lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui


class Switches:
    """The switches of a screen, each under a key."""

    def __init__(self) -> None:
        self._elements: dict[str, ui.switch] = {}
        self._known: dict[str, bool] = {}
        self._turning = 0

    def add(self, key: str, text: str, name: str, on: bool, turn: Callable[[bool], Awaitable[Any]]) -> None:
        """Draw a switch; ``name``: for a screen reader; ``turn``: called when a person turns it."""

        async def turned(event: Any) -> None:
            wanted = bool(event.value)
            if self._known[key] == wanted:
                return  # it follows
            self._known[key] = wanted
            self._turning += 1
            try:
                await turn(wanted)
            finally:
                self._turning -= 1

        self._known[key] = on
        self._elements[key] = ui.switch(text, value=on, on_change=turned)
        self._elements[key].props["aria-label"] = name

    def follow(self, states: Mapping[str, bool]) -> None:
        """Show what Prefect has; while one is being turned that may be older than the turn."""
        if not self._turning:
            for key, on in states.items():
                self._known[key] = on
                self._elements[key].set_value(on)
