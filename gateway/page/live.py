"""What every open page is told: that the queue has changed, by Prefect's events."""

from __future__ import annotations

import asyncio
import logging

from nicegui import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

WATCHED = ["prefect.flow-run.", "darkroom.", "prefect.work-pool."]
RECHECK_DELAY = 0.3  # seconds; an event can precede the database row that it tells of
PAUSE = 2.0  # seconds before Prefect's server is asked again for its events
FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#17171c"/>'
    '<circle cx="16" cy="16" r="8" fill="#ff7a59"/></svg>'
)
changed: Event[[]] = Event()  # the queue, a task, or a saved job is not as it was
logger = logging.getLogger("darkroom.page")


async def follow_events() -> None:
    """Tell every open page of each of Prefect's events that changes the queue, until the gateway ends."""
    wanted = EventFilter(event=EventNameFilter(prefix=WATCHED))
    while True:
        try:
            async with get_events_subscriber(filter=wanted) as subscriber:
                changed.emit()  # what happened before is in no event
                async for _ in subscriber:
                    changed.emit()
                    asyncio.get_running_loop().call_later(RECHECK_DELAY, changed.emit)
        except Exception as error:  # Prefect's server is away; `darkroom up` starts it again
            logger.warning("the page hears of no changes, for Prefect's events can't be had: %s", error)
        await asyncio.sleep(PAUSE)
