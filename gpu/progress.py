"""What is made of a WebUI's progress: a bar that only rises, the seconds that are left, slow told from hung."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from webui.models import State

ALMOST = 0.99  # a bar stands at 100 % only when its stage has returned
EARLY = 0.05  # so far a bar has to have risen before its pace tells when it ends
LONGEST_LOAD = 600.0  # seconds without progress before the first step, in which a WebUI may load (and hash) a model
LONGEST_STILL = 60.0  # seconds without progress while sampling, at least; what seasoned pipelines settled on
STEPS_STILL = 10  # times the longest step that was seen: decoding a large picture takes as long as several


@dataclass(frozen=True)
class Reading:
    """One look at a request at the WebUI.

    Attributes:
        done: how many of its ``jobs`` are done, with that part of the next one that is. A WebUI's job is one pass of
            the sampler; with ADetailer each thing that it finds is one more.
        step, steps: of the pass in work; None where they may be somebody else's.
    """

    done: float
    jobs: int = 1
    step: int | None = None
    steps: int | None = None
    preview: str | None = None
    preview_id: int = -1


class Bar:
    """The bar of one request: 0 to 0.99, only forward, also where the WebUI finds more work on the way.

    Args:
        passes: the parts of the passes that may come, in any unit (see ``Request.passes``). One that nobody expected
            counts 1.
    """

    def __init__(self, passes: Sequence[float] = (1.0,), clock: Callable[[], float] = time.monotonic) -> None:
        self.shown = 0.0
        self._passes, self._clock = passes, clock
        self._first: tuple[float, float] | None = None  # when it first rose, and to what
        self._ends: float | None = None  # on the clock

    @property
    def seconds_left(self) -> float | None:
        """From the pace since it first rose (a model is loaded before that); None while that tells nothing."""
        return None if self._ends is None else max(0.0, self._ends - self._clock())

    def read(self, reading: Reading) -> None:
        parts = [*self._passes, *[1.0] * (reading.jobs - len(self._passes))]
        through = sum(part * min(max(reading.done - number, 0.0), 1.0) for number, part in enumerate(parts))
        shown, now = min(ALMOST, through / (sum(parts) or 1.0)), self._clock()
        if shown <= self.shown:
            return
        self.shown, self._first = shown, self._first or (now, shown)
        since, risen = now - self._first[0], shown - self._first[1]
        if risen > EARLY:
            self._ends = now + since * (1.0 - shown) / risen


class Pace:
    """Tells slow work from a hang, by how long its progress stands still.

    Before its first step a job may stand still for :data:`LONGEST_LOAD` (a model is loaded), afterwards for
    :data:`STEPS_STILL` times the longest step that was seen, and at least for :data:`LONGEST_STILL`. One for all jobs
    of a stage and size, so that the first picture is the measure for the next. An upscale tells no progress: the whole
    of it counts as one step, and the first one has :data:`LONGEST_LOAD`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._longest_step = 0.0
        self._upscaled = False
        self.begin()

    def begin(self) -> None:
        """A job begins, or still waits at the WebUI."""
        self._seen: tuple[object, ...] | None = None
        self._since = self._read_at = self._clock()
        self._sampling = False

    def read(self, state: State) -> None:
        """Take what the WebUI says while the job is the one that runs."""
        now, seen = self._clock(), (state.job_timestamp, state.job_count, state.job_no, state.sampling_step)
        if seen != self._seen:
            if self._sampling:
                self._longest_step = max(self._longest_step, now - self._since)
            self._sampling |= state.sampling_step > 0
            self._seen, self._since = seen, now
        self._read_at = now

    def upscaled(self) -> None:
        """An upscale was answered."""
        self._longest_step, self._upscaled = max(self._longest_step, self.seconds_without_news), True

    @property
    def limit(self) -> float:
        """Seconds for which it may stand still."""
        known = self._sampling or self._upscaled
        return max(LONGEST_STILL, STEPS_STILL * self._longest_step) if known else LONGEST_LOAD

    @property
    def still_for(self) -> float:
        """Seconds for which it was seen to stand still."""
        return self._read_at - self._since

    @property
    def seconds_without_news(self) -> float:
        """Seconds since it moved, or began; whether or not anybody could look."""
        return self._clock() - self._since
