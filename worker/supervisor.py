"""``darkroom worker``: the one process that outlives runs.

It is the worker, and around it what has to be there while no run is: waking at once, the order, the warm process, the
recovery of what died. One module each; this one only ties them together.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable

import psutil
from prefect.client.orchestration import get_client

from deployments.bootstrap import POOL
from services.stack import READY_LINE
from worker import recovery
from worker.events import Wake, listen
from worker.fork import WarmStart
from worker.worker import Configuration, DarkroomWorker, remember_settings

AGAIN = 0.25  # seconds; an event may come before what it tells of can be seen
QUIET = 1.0  # seconds after something was started: another look would take the server's time from its way to the GPU
PLAN_AFTER = 1.0  # seconds: planning asks the server a lot, and what was just started comes first
PLAN_EVERY = 10.0  # seconds, should Prefect's events not tell of something
GOODBYE = 8.0  # seconds for a run to interrupt its WebUI and end; whoever stops us waits longer than that
TRY_AGAIN = 5.0  # seconds after a duty failed
COLD = "DARKROOM_COLD_START"  # environment variable; 1: no warm process

logger = logging.getLogger("darkroom.worker")


async def supervise() -> None:
    """Run until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    worker = DarkroomWorker(
        work_pool_name=POOL, name=recovery.worker_name(), create_pool_if_not_found=False, prefetch_seconds=0
    )
    warm = WarmStart()
    cold = os.environ.get(COLD) == "1"
    if not cold:
        Configuration.start = staticmethod(lambda: warm.command)
    wake = Wake()
    duties = [
        _always(lambda: listen(wake)),
        _always(lambda: _hand_out(worker, wake)),
        _always(lambda: _keep_order(worker)),
        _always(_recover_runs),
        _always(_interrupt_orphans),
    ]
    if not cold:
        duties.append(_always(warm.keep))
    tasks = [asyncio.create_task(duty) for duty in duties]
    if not cold:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(warm.ready.wait(), 30)
    works = asyncio.create_task(worker.start(printer=_announce))
    stops = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([works, stops], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            worker.closed = True
            await asyncio.to_thread(say_goodbye)
            works.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await works
    finally:
        for task in [*tasks, stops]:
            task.cancel()
        await asyncio.gather(*tasks, stops, return_exceptions=True)


def _announce(text: str) -> None:
    print(READY_LINE if "started" in text else text, flush=True)


def say_goodbye() -> None:
    """Ask the runs of this worker to end, so that each interrupts its WebUI; what one leaves there is interrupted here.

    Prefect's worker would kill them, and the WebUI would paint on.
    """
    runs = recovery.children_that_run()
    for process in runs:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(runs, timeout=GOODBYE)
    jobs, deadline = recovery.orphaned_jobs(), time.monotonic() + GOODBYE / 2
    while jobs.look() and time.monotonic() < deadline:
        time.sleep(recovery.INTERRUPT_AGAIN)


async def _always(duty: Callable[[], Awaitable[None]]) -> None:
    """Do a duty for good: what fails is said and done again."""
    while True:
        try:
            await duty()
            return
        except Exception as error:
            logger.warning("%s; again in %g s", error, TRY_AGAIN)
        await asyncio.sleep(TRY_AGAIN)


async def _hand_out(worker: DarkroomWorker, wake: Wake) -> None:
    """Start what may run at the moment when it may."""
    started = False
    while True:
        came = await wake.wait(quiet=QUIET if started else 0.0)
        if not worker.is_setup:
            continue
        started = await _look(worker, came)
        if not started:
            await asyncio.sleep(AGAIN)  # events come in groups: one more look serves those that came meanwhile
            started = await _look(worker, wake.take())


async def _look(worker: DarkroomWorker, came: bool) -> bool:
    if came:
        worker.unplanned.set()
    return bool(await worker.get_and_submit_flow_runs())


async def _keep_order(worker: DarkroomWorker) -> None:
    """When something was started or came, but not at once: plan, and clean up.

    Prefect makes two clients for each run and leaves them in cycles, with memory of OpenSSL's that Python does not
    count: its collector would come for them after hundreds of runs. What is there before the first run stays for good.
    """
    await worker.unplanned.wait()
    gc.collect()
    gc.freeze()
    while True:
        try:
            await asyncio.wait_for(worker.unplanned.wait(), PLAN_EVERY)
        except TimeoutError:
            worker.unplanned.set()
        await asyncio.sleep(PLAN_AFTER)
        if worker.is_setup and worker.unplanned.is_set():
            await worker.plan()
        gc.collect()


async def _recover_runs() -> None:
    async with get_client() as client:
        while True:
            await recovery.recover_runs(client, POOL)
            await asyncio.sleep(recovery.LOOK)


async def _interrupt_orphans() -> None:
    jobs = recovery.orphaned_jobs()
    while True:
        await asyncio.to_thread(jobs.look)
        await asyncio.sleep(recovery.INTERRUPT_AGAIN)


def main() -> int:
    remember_settings()
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(supervise())
    return 0
