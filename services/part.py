"""One part of the stack: a process that is started again when it ends by itself."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from services.process import Child

FIRST_PAUSE = 1.0  # seconds before a part is started again; doubled each time
LONGEST_PAUSE = 300.0  # seconds
STEADY_AFTER = 60.0  # seconds that a part has to run for the next pause to be the first one again
TRIES = 100  # starts in a row that did not last: eight hours
Say = Callable[[str], None]


class Part:
    """A module of this Python, run as a child process.

    Args:
        name: what a person calls it.
        module: the module and its arguments.
        log: the file for what it prints.
    """

    def __init__(self, name: str, module: list[str], log: Path) -> None:
        self.name = name
        self._module = module
        self._log = log
        self._failures = 0  # in a row
        self._again_at: float | None = None
        self._earlier: list[Child] = []  # ended; of the worker's group, runs may still be there
        self.given_up = False
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
        if self.child.alive or self.given_up:
            return False
        now = time.monotonic()
        if self._again_at is None:
            self._failures = 1 if now - self._started > STEADY_AFTER else self._failures + 1
            pause = min(FIRST_PAUSE * 2 ** (self._failures - 1), LONGEST_PAUSE)
            self.given_up = self._failures > TRIES
            self._again_at = now + pause
            what_next = (
                f"not started again after {TRIES} tries; the rest stays up. Put it right, then stop and start darkroom"
                if self.given_up
                else f"started again in {pause:g} s (try {self._failures} of {TRIES})"
            )
            say(f"{self.child.how_it_ended()}: {what_next}. Its log: {self._log}")
        if self.given_up or now < self._again_at:
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
