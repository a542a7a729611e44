"""What the worker is woken by, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from worker.events import Wakeup

T = TypeVar("T")
PATIENCE = 30
FOR_EVER = 3600.0  # seconds; no test lasts so long


async def soon(waited: Awaitable[T]) -> T:
    return await asyncio.wait_for(waited, PATIENCE)


def test_all_notifications_are_taken_at_once_and_only_once() -> None:
    async def taken() -> tuple[bool, bool]:
        wakeup = Wakeup()
        wakeup.notify(run_queued=True)
        wakeup.notify(slot_freed=True)
        return await soon(wakeup.wait()), wakeup.take()

    assert asyncio.run(taken()) == (True, False)


def test_a_queued_run_waits_for_one_that_was_just_started_a_freed_slot_does_not() -> None:
    async def taken() -> tuple[bool, bool]:
        wakeup = Wakeup()
        waits = asyncio.create_task(wakeup.wait(only_slots_for=FOR_EVER))
        wakeup.notify(run_queued=True)
        for _ in range(100):
            await asyncio.sleep(0)
        waited = not waits.done()
        wakeup.notify(slot_freed=True)
        return waited, await soon(waits)

    assert asyncio.run(taken()) == (True, True)


def test_after_that_time_a_queued_run_is_told_of() -> None:
    async def taken() -> bool:
        wakeup = Wakeup()
        wakeup.notify(run_queued=True)
        return await soon(wakeup.wait(only_slots_for=0.01))

    assert asyncio.run(taken()) is True
