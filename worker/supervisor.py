"""``darkroom worker``: the one process that outlives runs.

It is the worker, and around it what has to be there while no run is: waking by event, the order, the fork server, the
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

import httpx
import psutil
from prefect.client.orchestration import PrefectClient, get_client

from deployments.bootstrap import POOL
from deployments.form import keep_current
from services.stack import READY_LINE
from worker import gpu_hours, notice, recovery
from worker.events import Wakeup, listen
from worker.fork import ForkServer
from worker.logs import bound_logs
from worker.worker import Configuration, DarkroomWorker

RECHECK_DELAY = 0.25  # seconds; an event can precede the database row that it tells of
PLAN_AFTER = 1.0  # seconds: planning asks the server a lot, and what was just started comes first
PLAN_EVERY = 10.0  # seconds, should Prefect's events not tell of something
RUNS_END_WITHIN = 8.0  # seconds for a run to interrupt its WebUI and end; whoever stops us waits longer than that
FORK_SERVER_WITHIN = 30.0  # seconds that the first run waits for the fork server
RETRY_AFTER = 5.0  # seconds after one of the loops failed
COLD = "DARKROOM_COLD_START"  # environment variable; 1: no fork server

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
    wakeup, queue = worker.wakeup, notice.QueueWatch()
    recover, stopped = recovery.Recovery(), recovery.StoppedProcesses()
    async with get_client() as client:
        with contextlib.suppress(httpx.HTTPError):  # the loop below tries again
            await worker.hours.look(client, POOL)  # before the worker's first heartbeat, for it reads the last one
    loops: list[Callable[[], Awaitable[None]]] = [
        lambda: listen(wakeup),
        lambda: _hand_out(worker, wakeup),
        lambda: _keep_order(worker),
        lambda: worker.readiness.watch(wakeup),
        lambda: _every(gpu_hours.LOOK_EVERY, worker.hours.look),
        lambda: _every(recovery.RECOVER_EVERY, recover.recover),
        lambda: _every(recovery.RESUME_EVERY, recover.resume),
        lambda: _every(recovery.STOPPED_EVERY, stopped.look),
        lambda: _every(recovery.DELETED_EVERY, recovery.end_deleted_runs),
        lambda: _every(notice.LOOK_EVERY, queue.look),
        _interrupt_orphans,
        keep_current,
        bound_logs,
    ]
    fork_server = None
    if os.environ.get(COLD) != "1":
        fork_server = ForkServer()
        Configuration.default_command = staticmethod(lambda: fork_server.command)
        loops.append(fork_server.keep_running)
    tasks = [asyncio.create_task(_repeat(one)) for one in loops]
    if fork_server is not None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(fork_server.ready.wait(), FORK_SERVER_WITHIN)
    works = asyncio.create_task(worker.start(printer=_announce))
    stops = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([works, stops], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            for ours in tasks:  # nothing is planned, held or resumed any more
                ours.cancel()
            worker.on_hold = "the worker is about to end"
            await asyncio.to_thread(stop_runs)
            works.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await works
    finally:
        for task in [*tasks, stops]:
            task.cancel()
        await asyncio.gather(*tasks, stops, return_exceptions=True)


def _announce(text: str) -> None:
    print(READY_LINE if "started" in text else text, flush=True)


def stop_runs() -> None:
    """Ask the runs of this worker to end, so that each interrupts its WebUI; what one leaves there is interrupted here.

    Prefect's worker would kill them, and the WebUI would paint on.
    """
    runs = [process for process, run in recovery.own_processes() if run]
    for process in runs:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(runs, timeout=RUNS_END_WITHIN)
    jobs, deadline = recovery.OrphanedJobs(recovery.client_for), time.monotonic() + RUNS_END_WITHIN / 2
    while jobs.look() and time.monotonic() < deadline:
        time.sleep(recovery.INTERRUPT_AGAIN)


async def _repeat(loop: Callable[[], Awaitable[None]]) -> None:
    """Run one of the loops for good: where it fails, say so and begin anew."""
    while True:
        try:
            await loop()
            return
        except Exception as error:
            logger.warning("%s; again in %g s", error, RETRY_AFTER)
        await asyncio.sleep(RETRY_AFTER)


async def _hand_out(worker: DarkroomWorker, wakeup: Wakeup) -> None:
    """Start what may run as soon as it may."""
    while True:
        queued = await wakeup.wait()
        if worker.is_setup and not await _look(worker, queued):
            await asyncio.sleep(RECHECK_DELAY)
            await _look(worker, wakeup.take())


async def _look(worker: DarkroomWorker, queued: bool) -> bool:
    if queued:
        worker.unplanned.set()
    return bool(await worker.get_and_submit_flow_runs())


async def _keep_order(worker: DarkroomWorker) -> None:
    """Plan ahead of the next look, and collect garbage.

    Prefect makes two clients for each run and leaves them in cycles, with memory of OpenSSL's that Python does not
    count: the garbage collector would come for them after hundreds of runs. What is there before the first run is
    frozen, for it stays.
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


async def _every(seconds: float, look: Callable[[PrefectClient, str], Awaitable[None]]) -> None:
    """One of recovery's looks, again and again."""
    async with get_client() as client:
        while True:
            await look(client, POOL)
            await asyncio.sleep(seconds)


async def _interrupt_orphans() -> None:
    jobs = recovery.OrphanedJobs(recovery.client_for)
    while True:
        await asyncio.to_thread(jobs.look)
        await asyncio.sleep(recovery.INTERRUPT_AGAIN)


def main() -> int:
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(supervise())
    return 0
