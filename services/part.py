"""One part of the stack: a process that is started again when it ends by itself."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from services.process import Child

FIRST_PAUSE = 1.0  # seconds before a part is started again; doubled each time
LONGEST_PAUSE = 300.0  # seconds; so a part that never lasts is tried for ever
STEADY_AFTER = 60.0  # seconds that a part has to run for the next pause to be the first one again
Say = Callable[[str], None]


class Part:
    """A module of this Python with its arguments, run as a child process that a person calls ``name``."""

    def __init__(self, name: str, module: list[str], log: Path) -> None:
        self.name = name
        self._module = module
        self._log = log
        self._pause = 0.0
        self._again_at: float | None = None
        self._earlier: list[Child] = []  # ended; of the worker's group, runs may still be there
        self.child = self._start()

    def _start(self) -> Child:
        self._started = time.monotonic()
        return Child(self.name, [sys.executable, "-m", *self._module], log=self._log, env=os.environ)

    def keep_alive(self, say: Say) -> bool:
        """Start it again when it has ended and its pause is over; returns whether it was. Never blocks.

        Raises:
            OSError: it could not be started; the next call begins the next pause.
        """
        self._earlier = [child for child in self._earlier if child.has_group]
        if self.child.alive:
            return False
        now = time.monotonic()
        if self._again_at is None:
            lasted = now - self._started > STEADY_AFTER
            self._pause = min(self._pause * 2, LONGEST_PAUSE) if self._pause and not lasted else FIRST_PAUSE
            self._again_at = now + self._pause
            say(f"{self.child.how_it_ended()}: started again in {self._pause:g} s. Its log: {self._log}")
        if now < self._again_at:
            return False
        self._again_at = None
        self._earlier.append(self.child)
        self.child = self._start()
        return True

    def stop(self) -> None:
        """End it, and whatever its earlier processes left."""
        self.child.stop()
        for child in self._earlier:
            child.kill()
