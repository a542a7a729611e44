"""Tells the worker at once when there may be something to run, by Prefect's events.

Polling faster would do the same worse: each poll is also a write, and SQLite has one writer.
"""

from __future__ import annotations

import asyncio
import logging

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

# A run that waits, or one that makes room. (A run's other states change neither.)
NAMES = [
    f"prefect.flow-run.{state}"
    for state in (
        "Scheduled", "AwaitingRetry", "Resuming", "AwaitingConcurrencySlot", "Late",
        "Completed", "Failed", "Crashed", "Cancelled", "Cancelling", "TimedOut", "Suspended", "Paused",
    )
] + ["prefect.work-pool.ready", "prefect.work-queue.ready"]  # fmt: skip
TRY_AGAIN = 2.0  # seconds after the stream broke; the worker polls meanwhile

logger = logging.getLogger(__name__)


async def listen(woken: asyncio.Event) -> None:
    """Set ``woken`` at each event that may let a run start; until cancelled."""
    wanted = EventFilter(event=EventNameFilter(name=NAMES))
    while True:
        try:
            async with get_events_subscriber(filter=wanted) as events:
                woken.set()  # whatever came before we listened
                async for _ in events:
                    woken.set()
        except Exception as error:
            logger.info("Prefect's events broke off (%s); polling until they are back", error)
        await asyncio.sleep(TRY_AGAIN)
