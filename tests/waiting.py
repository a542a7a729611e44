"""Waiting for what takes a moment, without a fixed pause."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

WITHIN = 90.0  # seconds; two cores that other tests share
LOOK_EVERY = 0.01, 0.25  # seconds between two looks: at first, and after three seconds, for a look may be a request


def until(what: str, true: Callable[[], Any], within: float = WITHIN) -> Any:
    """Poll until ``true`` gives something, and return it.

    Raises:
        AssertionError: with ``what``, after ``within`` seconds.
    """
    deadline, pause = time.monotonic() + within, LOOK_EVERY[0]
    while time.monotonic() < deadline:
        if result := true():
            return result
        time.sleep(pause)
        pause = min(1.1 * pause, LOOK_EVERY[1])
    raise AssertionError(f"not within {within:g} s: {what}")
