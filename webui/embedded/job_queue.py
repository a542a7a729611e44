"""The queue in front of the GPU: one job at a time, first in, first out.

It keeps a record of each job: from when to when it had the GPU, by the server's own clock. A bench that divides
the busy time by the wall time needs no client's clock.
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

KEPT_RECORDS = 10_000


@dataclass
class JobRecord:
    """One job on the GPU. `start` and `end` are Unix times in seconds; `checkpoint` is the model that was loaded
    for it last, `loaded` whether the job had to load it."""

    task: str
    kind: str
    start: float = 0.0
    end: float = 0.0
    checkpoint: str = ""
    loaded: bool = False


class JobQueue:
    """A first-in-first-out lock. `log`: a file that gets each job's record as a JSON line."""

    def __init__(self, log: Path | None = None) -> None:
        self._log = log
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()  # the first one holds the lock
        self._begun = 0
        self.records: deque[JobRecord] = deque(maxlen=KEPT_RECORDS)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Wait in the queue and hold the GPU without being a job: refreshing a list waits for the running job."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.notify_all()  # for wait_for_waiting
            self._changed.wait_for(lambda: self._waiting[0] is ticket)
        try:
            yield
        finally:
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()

    @contextmanager
    def job(self, kind: str, task: str) -> Iterator[JobRecord]:
        """Wait in the queue and hold the GPU for a job; the caller fills in its record's checkpoint."""
        record = JobRecord(task, kind)
        with self.lock():
            record.start = time.time()
            with self._changed:
                self._begun += 1
                self._changed.notify_all()
            try:
                yield record
            finally:
                record.end = time.time()
                self.records.append(record)
                if self._log:
                    with self._log.open("a") as file:
                        file.write(json.dumps(asdict(record)) + "\n")

    @property
    def begun(self) -> int:
        """How many jobs have begun so far."""
        return self._begun

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    @property
    def waiting(self) -> int:
        """How many wait behind the one that has the GPU."""
        return max(0, len(self._waiting) - 1)

    def wait_for_job(self, number: int, timeout: float) -> bool:
        """Wait until `number` jobs have begun since the server started."""
        with self._changed:
            return self._changed.wait_for(lambda: self._begun >= number, timeout)

    def wait_for_waiting(self, count: int, timeout: float) -> bool:
        """Wait until `count` wait behind the one that has the GPU."""
        with self._changed:
            return self._changed.wait_for(lambda: self.waiting >= count, timeout)

    def wait_until_idle(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout)
