"""The sampler's pace: as fast as it can, so many seconds a step, or step by step as a test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_LOOK_SECONDS = 0.02  # how often a held sampler looks whether it was interrupted


class StepDriver:
    """`step_time` is the seconds that a step takes, or more where painting needs more (0: as long as it needs).

    The pace is kept over a pass: what a step loses because the host woke it late, the next one makes up for. A GPU
    does not wait for the timers of its host either.
    """

    def __init__(self, step_time: float = 0.0) -> None:
        self.step_time = step_time
        self._changed = threading.Condition()
        self._held = False
        self._allowed = 0
        self._done = 0
        self._passes = 0
        self._due = 0.0  # when the step in work should end, time.perf_counter seconds

    def hold(self) -> None:
        """Manual from here on: the sampler waits in each step for `advance`. Forgets the passes before."""
        with self._changed:
            self._held, self._allowed = True, 0
            self._done, self._passes = 0, 0
            self._changed.notify_all()

    def advance(self, n: int = 1) -> None:
        """Let a held sampler make `n` more steps; they are remembered while none is running."""
        with self._changed:
            self._allowed += n
            self._changed.notify_all()

    def release(self) -> None:
        """Back to `step_time`."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    @property
    def done(self) -> int:
        """Steps done in the pass that runs or ran last."""
        return self._done

    def wait_for(self, step: int, timeout: float = 10.0, *, in_pass: int = 1) -> bool:
        """Wait until `step` steps of a pass are done (0: until it has begun). Passes count from 1 since
        `hold`: a picture, a hires fix and an inpainted face are one each. False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: (self._passes, self._done) >= (in_pass, step), timeout)

    # -- the sampler's side ------------------------------------------------------------------------------

    def begin_pass(self) -> None:
        with self._changed:
            self._done = 0
            self._passes += 1
            self._due = time.perf_counter()
            self._changed.notify_all()

    def before_step(self, stopped: Callable[[], bool]) -> None:
        """Return when the step may be made. At once when `stopped()`: a step in work is finished first, as
        in the real one."""
        if not self._held:
            return
        with self._changed:
            while self._held and self._allowed == 0 and not stopped():
                self._changed.wait(_LOOK_SECONDS)
            if self._allowed:
                self._allowed -= 1

    def after_step(self, started: float) -> None:
        """Fill the step up to `step_time` (started at `started`, time.perf_counter seconds)."""
        # At most one step's time is made up for: a sampler that was held for long does not break into a run.
        self._due = max(self._due, started - self.step_time) + self.step_time
        rest = self._due - time.perf_counter()
        if rest > 0:
            time.sleep(rest)

    def step_done(self, number: int) -> None:
        """The state shows the step now."""
        with self._changed:
            self._done = number
            self._changed.notify_all()
