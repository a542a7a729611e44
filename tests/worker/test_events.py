"""What the worker is woken by."""

from __future__ import annotations

import asyncio

from worker.events import Wakeup

PATIENCE = 30  # seconds


def test_all_notifications_are_taken_at_once_and_only_once() -> None:
    async def taken() -> tuple[bool, bool]:
        wakeup = Wakeup()
        wakeup.notify(run_queued=True)
        wakeup.notify(run_queued=False)
        return await asyncio.wait_for(wakeup.wait(), PATIENCE), wakeup.take()

    assert asyncio.run(taken()) == (True, False)


def test_a_freed_slot_wakes_the_worker_too() -> None:
    async def taken() -> bool:
        wakeup = Wakeup()
        waits = asyncio.create_task(wakeup.wait())
        await asyncio.sleep(0)
        wakeup.notify(run_queued=False)
        return await asyncio.wait_for(waits, PATIENCE)

    assert asyncio.run(taken()) is False
