"""The one lane to the GPU: jobs pass in the order in which they came, one at a time.

The lane keeps the server's own clock: from when to when it was busy, and for whom. A bench that divides
the busy time by the wall time needs no client's word for it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

KEPT_TURNS = 10_000


@dataclass
class Turn:
    """One busy interval of the lane. `start` and `end` are Unix times in seconds."""

    task: str
    kind: str
    start: float = 0.0
    end: float = 0.0
    checkpoint: str = ""
    loaded: bool = False


class Lane:
    def __init__(self, log: Path | None = None) -> None:
        self._log = log
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()  # the first one holds the lane
        self._begun = 0
        self.turns: deque[Turn] = deque(maxlen=KEPT_TURNS)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Pass the lane, in order, without being a job (refreshing a list waits for the running job)."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.notify_all()  # whoever watches the queue grow
            self._changed.wait_for(lambda: self._waiting[0] is ticket)
        try:
            yield
        finally:
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()

    @contextmanager
    def job(self, kind: str, task: str) -> Iterator[Turn]:
        """Hold the lane for a job; the block fills in what the clock should tell of it."""
        turn = Turn(task, kind)
        with self.hold():
            turn.start = time.time()
            with self._changed:
                self._begun += 1
                self._changed.notify_all()
            try:
                yield turn
            finally:
                turn.end = time.time()
                self.turns.append(turn)
                if self._log:
                    with self._log.open("a") as file:
                        file.write(json.dumps(asdict(turn)) + "\n")

    @property
    def begun(self) -> int:
        """How many jobs have begun so far."""
        return self._begun

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    @property
    def waiting(self) -> int:
        """How many wait behind the one that holds the lane."""
        return max(0, len(self._waiting) - 1)

    def wait_for_job(self, number: int, timeout: float) -> bool:
        """Wait until `number` jobs have begun since the server started."""
        with self._changed:
            return self._changed.wait_for(lambda: self._begun >= number, timeout)

    def wait_for_waiting(self, count: int, timeout: float) -> bool:
        """Wait until `count` stand behind the one that holds the lane."""
        with self._changed:
            return self._changed.wait_for(lambda: self.waiting >= count, timeout)

    def wait_until_idle(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout)
