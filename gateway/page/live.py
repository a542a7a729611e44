"""What every open page is told: that the queue has changed, by Prefect's events, and how far the running tasks are."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from uuid import UUID

from fastapi.concurrency import run_in_threadpool
from nicegui import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from starlette.datastructures import State

from backlog import queue
from backlog.task import Task, result_images
from gateway.progress import Seen, look

WATCHED = ["prefect.flow-run.", "darkroom.", "prefect.work-pool."]
RECHECK_DELAY = 0.3  # seconds; an event can precede the database row that it tells of
PAUSE = 2.0  # seconds before Prefect's server is asked again for its events
LOOK_EVERY = 0.5  # seconds between two looks at the WebUI, while a page is open and something runs
ASK_EVERY = 4  # looks, after which Prefect is asked again for what runs; at once where an event tells of a change

changed: Event[[]] = Event()  # the queue, a task, or a saved job is not as it was
progressed: Event[[list[tuple[Task, Seen]]]] = Event()  # what runs now, and how far each is
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


async def follow_progress(state: State) -> None:
    """Tell every open page how far the running tasks are: one look for all of them; none while no page is open."""
    running: list[Task] = []
    seen: dict[UUID, Seen] = {}
    looks_left = 0

    def ask_again() -> None:
        nonlocal looks_left
        looks_left = 0

    changed.subscribe(ask_again)
    while True:
        if not progressed.callbacks:
            await asyncio.sleep(LOOK_EVERY)
            ask_again()
            continue
        try:
            looks_left -= 1
            if looks_left < 0:
                running = await run_in_threadpool(queue.running, state.prefect)
                looks_left = ASK_EVERY if running else 8 * ASK_EVERY
            seen = await run_in_threadpool(_look, state, running, seen)
        except Exception as error:  # progress is advice
            logger.debug("progress could not be had: %s", error)
        progressed.emit([(task, seen.get(task.id, Seen())) for task in running])
        await asyncio.sleep(LOOK_EVERY)


def _look(state: State, running: list[Task], before: dict[UUID, Seen]) -> dict[UUID, Seen]:
    """A look at each task, and at its pictures that are done; one without a newer preview keeps its last."""
    found = {}
    for task in running:
        task.result_images = result_images(task.id)
        last = before.get(task.id, Seen())
        now = look(state.webui, task, last.preview_id)
        kept = now if now.preview else replace(now, preview=last.preview, preview_id=last.preview_id)
        found[task.id] = replace(kept, fraction=max(kept.fraction, last.fraction))
    return found
