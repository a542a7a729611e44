"""The log of the embedded WebUI: when its GPU was busy, by the server's own clock, and with which job."""

from __future__ import annotations

import itertools
import json
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_EVERY = 0.2  # seconds between two looks at the log
TASK = re.compile(r"task\([a-z]+-([0-9a-f]{8})-")


@dataclass(frozen=True)
class Turn:
    """One job on the GPU. ``start`` and ``end`` are seconds since 1970; ``loaded``: a checkpoint was loaded."""

    task: str
    kind: str
    start: float
    end: float
    checkpoint: str
    loaded: bool

    @property
    def run(self) -> str:
        """The first eight digits of the flow run's id, which both Darkroom and our peers put into the task id."""
        found = TASK.match(self.task)
        return found.group(1) if found else ""

    @property
    def seconds(self) -> float:
        return self.end - self.start


class JobLog:
    """The log of one embedded WebUI, as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def turns(self, runs: Iterable[str] | None = None) -> list[Turn]:
        """All turns so far in order of time, or those of some flow runs (ids)."""
        wanted = None if runs is None else {run[:8] for run in runs}
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        turns = [Turn(**json.loads(line)) for line in lines]
        kept = [turn for turn in turns if wanted is None or turn.run in wanted]
        return sorted(kept, key=lambda turn: turn.start)

    def wait(self, runs: Sequence[str], patience: float, check: Callable[[], None]) -> None:
        """Return when each of the flow runs has been on the GPU, or when none more came for so many seconds.

        ``check`` is called at each look; raises when waiting makes no sense any more.
        """
        been, deadline = 0, time.monotonic() + patience
        while been < len(runs) and time.monotonic() < deadline:
            check()
            time.sleep(LOOK_EVERY)
            if (now := len({turn.run for turn in self.turns(runs)})) > been:
                been, deadline = now, time.monotonic() + patience

    def mark(self) -> int:
        """How many turns there are, to look at what comes after with :meth:`since`."""
        return len(self.turns())

    def since(self, mark: int) -> list[Turn]:
        return self.turns()[mark:]


def gaps_between_runs(turns: Sequence[Turn]) -> list[float]:
    """Seconds of idle GPU from the end of one run's last job to the begin of the next run's first job."""
    return [max(0.0, after.start - before.end) for before, after in _pairs(turns) if after.run != before.run]


def gaps(turns: Sequence[Turn]) -> list[float]:
    """Seconds of idle GPU between any two jobs."""
    return [max(0.0, after.start - before.end) for before, after in _pairs(turns)]


def _pairs(turns: Sequence[Turn]) -> list[tuple[Turn, Turn]]:
    return list(itertools.pairwise(turns))


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """Nearest rank: the smallest value that 95 % of them do not pass. Below 20 values that is the largest."""
    ordered = sorted(values)
    return ordered[max(0, -(-95 * len(ordered) // 100) - 1)]
