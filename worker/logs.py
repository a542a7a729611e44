"""Bounds the log files of this machine: the server's, the WebUI's, the worker's own and those of the runs."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from store.settings import settings

LARGEST = 10 * 1024**2  # bytes; a log and its older part hold this each, and what comes between two looks
LOOK_EVERY = 60.0  # seconds


async def bound_logs() -> None:
    """Look at them for good."""
    while True:
        for log in (settings().home / "logs").glob("*.log"):
            await asyncio.to_thread(bound, log)
        await asyncio.sleep(LOOK_EVERY)


def bound(log: Path, largest: int = LARGEST) -> None:
    """Keep the older part of a log that is too large in NAME.log.1, in place of the one before, and empty the log.

    It is copied, not renamed: other processes have it open to append to it. What they write between the copy and the
    emptying, milliseconds, is lost.
    """
    if log.stat().st_size > largest:
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)
