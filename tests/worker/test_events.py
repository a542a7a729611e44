"""What the worker is woken by, and when it would rather not be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from worker.events import Wake

T = TypeVar("T")
PATIENCE = 30
QUIET = 3600.0  # seconds that no test lasts


async def soon(waited: Awaitable[T]) -> T:
    return await asyncio.wait_for(waited, PATIENCE)


def test_all_that_happened_is_told_at_once_and_only_once() -> None:
    async def told() -> tuple[bool, bool, bool]:
        wake = Wake()
        wake.tell(work=True)
        wake.tell(room=True)
        return await soon(wake.wait()), wake.up.is_set(), wake.take()

    assert asyncio.run(told()) == (True, False, False)


def test_new_work_waits_for_a_run_that_was_just_started_an_ended_run_does_not() -> None:
    async def told() -> tuple[bool, bool]:
        wake = Wake()
        waits = asyncio.create_task(wake.wait(quiet=QUIET))
        wake.tell(work=True)
        for _ in range(100):
            await asyncio.sleep(0)
        waited = not waits.done()
        wake.tell(room=True)
        return waited, await soon(waits)

    assert asyncio.run(told()) == (True, True)


def test_after_the_quiet_new_work_is_told() -> None:
    async def told() -> bool:
        wake = Wake()
        wake.tell(work=True)
        return await soon(wake.wait(quiet=0.01))

    assert asyncio.run(told()) is True
