"""What is made of a WebUI's progress: a bar that only rises, the seconds that are left, slow told from hung."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ALMOST = 0.99  # a bar stands at 100 % only when its stage has returned
EARLY = 0.05  # below this fraction a WebUI's ETA is nonsense: 39 s for a 3 s job, 1,353 s during a load
LONGEST_ETA = 24 * 3600.0  # seconds; longer is nonsense at any time
LONGEST_LOAD = 600.0  # seconds without progress before the first step, in which a WebUI may load (and hash) a model
LONGEST_STILL = 60.0  # seconds without progress while sampling, at least; what seasoned pipelines settled on
STEPS_STILL = 10  # times the longest step that was seen: decoding a large picture takes as long as several


@dataclass(frozen=True)
class Reading:
    """One look at the WebUI. ``fraction`` 0 to 1; ``eta`` seconds, as it says; steps None where they are not ours."""

    fraction: float
    eta: float | None = None
    jobs: int = 1
    step: int | None = None
    steps: int | None = None
    preview: str | None = None
    preview_id: int = -1


class RequestBar:
    """The bar of one request: 0 to 1, only forward, also where the WebUI finds more work on the way.

    With ADetailer the WebUI's job count grows when a pass has found something, and its own bar falls from 1.0 to 0.5.
    Here each such phase has its part of the bar.

    Args:
        phases: the parts of the phases that may come, in any unit (see ``Request.phases``).

    Attributes:
        shown: the bar, 0 to 0.99.
    """

    def __init__(self, phases: Sequence[float] = (1.0,), clock: Callable[[], float] = time.monotonic) -> None:
        self.shown = 0.0
        self._phases = list(phases)
        self._jobs = 0
        self._raw_from = 0.0  # what the WebUI said when this phase began
        self._clock = clock
        self._fraction = 0.0  # as the WebUI said last
        self._ends: float | None = None  # on the clock
        self._begin_phase()

    @property
    def seconds_left(self) -> float | None:
        """What the WebUI said where it can be believed, counting down in between; None while that is unknown."""
        return None if self._ends is None else max(0.0, self._ends - self._clock())

    def read(self, reading: Reading) -> None:
        """Take what the WebUI says."""
        # Between two steps a WebUI's ETA rises; ours goes on counting down. When the fraction falls the WebUI has found
        # more work, and what it promised does not hold any more.
        if reading.fraction != self._fraction:
            eta, moved = reading.eta, reading.fraction > max(self._fraction, EARLY)
            self._ends = self._clock() + eta if moved and eta is not None and 0 < eta < LONGEST_ETA else None
            self._fraction = reading.fraction
        raw = 0.0 if math.isnan(reading.fraction) else min(max(reading.fraction, 0.0), 1.0)
        if reading.jobs > self._jobs > 0:
            self._raw_from = raw
            self._begin_phase()
        self._jobs = max(self._jobs, reading.jobs)
        # Job count and fraction are asked one after the other: the fraction may be that of the phase before, 1.0.
        self._raw_from = min(self._raw_from, raw)
        through = (raw - self._raw_from) / max(1.0 - self._raw_from, 0.001)
        self.shown = max(self.shown, min(ALMOST, self._from + (self._end - self._from) * through))

    def _begin_phase(self) -> None:
        """The next phase takes its part of what is left of the bar; one that nobody expected takes all of it."""
        part = self._phases[0] / (sum(self._phases) or 1.0) if self._phases else 1.0
        self._phases = self._phases[1:]
        self._from = self.shown
        self._end = self.shown + (1.0 - self.shown) * part


class Pace:
    """Tells a slow job from one that hangs, by how long its progress stands still.

    Before its first step a job may stand still for :data:`LONGEST_LOAD` (a model is loaded), afterwards for
    :data:`STEPS_STILL` times the longest step that was seen, and at least for :data:`LONGEST_STILL`. One for all jobs
    of a stage, so that the first picture is the measure for the next.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._longest_step = 0.0
        self.begin()

    def begin(self) -> None:
        """A job begins, or still waits at the WebUI."""
        self._mark: tuple[float, int, int | None] | None = None
        self._since = self._read_at = self._clock()
        self._sampling = False

    def read(self, reading: Reading) -> None:
        now, mark = self._clock(), (reading.fraction, reading.jobs, reading.step)
        if mark != self._mark:
            if self._sampling:
                self._longest_step = max(self._longest_step, now - self._since)
            self._sampling |= bool(reading.step)
            self._mark, self._since = mark, now
        self._read_at = now

    @property
    def limit(self) -> float:
        """Seconds for which it may stand still."""
        return max(LONGEST_STILL, STEPS_STILL * self._longest_step) if self._sampling else LONGEST_LOAD

    @property
    def still_for(self) -> float:
        """Seconds for which it was seen to stand still."""
        return self._read_at - self._since

    @property
    def seconds_without_news(self) -> float:
        """Seconds since it moved, or began; whether or not anybody could look."""
        return self._clock() - self._since
