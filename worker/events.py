"""Tells the worker at once when there may be something to run, by Prefect's events.

Polling faster would do the same worse: each poll is also a write, and SQLite has one writer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

ROOM = {
    f"prefect.flow-run.{state}"
    for state in ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling", "TimedOut", "Suspended", "Paused")
}
WORK = {
    f"prefect.flow-run.{state}"
    for state in ("Scheduled", "AwaitingRetry", "Resuming", "AwaitingConcurrencySlot", "Late")
} | {"prefect.work-pool.ready", "prefect.work-queue.ready"}
TRY_AGAIN = 2.0  # seconds after the stream broke; the worker polls meanwhile

logger = logging.getLogger(__name__)


class Wake:
    """What the worker waits for: room, a run ended that others may have waited for; or work, there may be something new
    to start."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self._room = asyncio.Event()
        self._work = False

    def tell(self, *, room: bool = False, work: bool = False) -> None:
        """Wake whoever waits."""
        self._work |= work
        self.up.set()
        if room:
            self._room.set()

    async def wait(self, quiet: float = 0.0) -> bool:
        """Return when there may be something to start; for the first ``quiet`` seconds only when a run ended.

        Returns: as :meth:`take`.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._room.wait(), quiet)
        await self.up.wait()
        return self.take()

    def take(self) -> bool:
        """Whether new work came since the last time, without waiting."""
        self.up.clear()
        self._room.clear()
        came, self._work = self._work, False
        return came


async def listen(wake: Wake) -> None:
    """Wake the worker at each event that may let a run start; until cancelled."""
    wanted = EventFilter(event=EventNameFilter(name=sorted(ROOM | WORK)))
    while True:
        try:
            async with get_events_subscriber(filter=wanted) as events:
                wake.tell(work=True)  # whatever came before we listened
                async for event in events:
                    wake.tell(room=event.event in ROOM, work=event.event in WORK)
        except Exception as error:
            logger.info("Prefect's events broke off (%s); polling until they are back", error)
        await asyncio.sleep(TRY_AGAIN)
