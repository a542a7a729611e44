"""Tells the worker at once when there may be something to start, by Prefect's events.

Polling faster would do the same worse: each poll is also a write, and SQLite has one writer.
"""

from __future__ import annotations

import asyncio
import logging

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

from backlog.order import ORDER_CHANGED

SLOT_FREED = {
    f"prefect.flow-run.{state}"
    for state in ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling", "TimedOut", "Suspended", "Paused")
}
RUN_QUEUED = {
    f"prefect.flow-run.{state}"
    for state in ("Scheduled", "AwaitingRetry", "Resuming", "AwaitingConcurrencySlot", "Late")
} | {"prefect.work-pool.ready", "prefect.work-queue.ready", ORDER_CHANGED}
RECONNECT_AFTER = 2.0  # seconds after the stream broke; the worker polls meanwhile

logger = logging.getLogger("darkroom.worker")


class Wakeup:
    """What the worker waits for: a slot of the pool was freed, or a run was queued."""

    def __init__(self) -> None:
        self._notified = asyncio.Event()
        self._run_queued = False

    def notify(self, *, run_queued: bool) -> None:
        self._run_queued |= run_queued
        self._notified.set()

    async def wait(self) -> bool:
        """Return at the next notification. Returns: see take."""
        await self._notified.wait()
        return self.take()

    def take(self) -> bool:
        """Whether a run was queued since the last time; forgets all notifications, and does not wait for one."""
        self._notified.clear()
        queued, self._run_queued = self._run_queued, False
        return queued


async def listen(wakeup: Wakeup) -> None:
    """Notify the worker of each event that may let a run start; until cancelled."""
    wanted = EventFilter(event=EventNameFilter(name=sorted(SLOT_FREED | RUN_QUEUED)))
    while True:
        try:
            async with get_events_subscriber(filter=wanted) as events:
                wakeup.notify(run_queued=True)  # there may have been some before we listened
                async for event in events:
                    wakeup.notify(run_queued=event.event in RUN_QUEUED)
        except Exception as error:
            logger.info("Prefect's events broke off (%s); polling until they are back", error)
        await asyncio.sleep(RECONNECT_AFTER)
