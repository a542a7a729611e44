"""The pinned SQLAlchemy keeps the Prefect server clear of SQLite's locks; see docs/prefect-on-sqlite.md."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import OperationalError

BUSY_TIMEOUT = 60.0
"""Seconds: what Prefect 3.8.8 has SQLite wait for a lock."""


@pytest.fixture
def garbage_stays() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def seconds_that_the_loop_stands_still(database: Path) -> float:
    """Collect a cursor whose statement failed while another transaction waits for the lock that it failed on."""
    engine = await AioSqliteConfiguration(f"sqlite+aiosqlite:///{database}").engine()
    async with engine.connect() as first:
        await first.exec_driver_sql("CREATE TABLE run (number INTEGER)")
        await first.exec_driver_sql("INSERT INTO run VALUES (1)")

    async with engine.connect() as writer:
        async with engine.connect() as late:
            await late.exec_driver_sql("BEGIN DEFERRED")
            await late.exec_driver_sql("SELECT number FROM run")
            await writer.exec_driver_sql("INSERT INTO run VALUES (2)")
            try:
                await late.exec_driver_sql("INSERT INTO run VALUES (3)")
            except OperationalError as refusal:
                assert "database is locked" in str(refusal)
            else:
                pytest.fail("a transaction that read before another one wrote was let write")

        await writer.exec_driver_sql("BEGIN IMMEDIATE")
        # A pool hands out the connection that the failed cursor belongs to; without one this is a new connection.
        async with engine.connect() as waiting:
            lock = asyncio.create_task(waiting.exec_driver_sql("BEGIN IMMEDIATE"))
            # Nothing tells that SQLite has begun to wait: too short a pause can hide a stall, never invent one.
            await asyncio.sleep(0.5)
            began = time.monotonic()
            gc.collect()
            stalled = time.monotonic() - began
            await writer.exec_driver_sql("ROLLBACK")
            if stalled < BUSY_TIMEOUT / 2:
                await lock
            else:
                await asyncio.gather(lock, return_exceptions=True)
    await engine.dispose()
    return stalled


def test_collecting_a_refused_statement_never_waits_for_a_lock(tmp_path: Path, garbage_stays: None) -> None:
    assert asyncio.run(seconds_that_the_loop_stands_still(tmp_path / "prefect.db")) < BUSY_TIMEOUT / 2
