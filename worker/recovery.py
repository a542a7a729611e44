"""What dead processes leave behind on this host: runs without a process, jobs that a WebUI paints for nobody.

A run whose process died is put back into the queue and resumes there.

Prefect finds a dead run by its missing heartbeats, after minutes, and never one that died before its first. A host
sees its own processes: each run's has the run's id in its environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psutil
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Failed, Scheduled

from blocks.connection import WebUI
from gpu.job import Job, orphans
from webui.client import WebUIClient
from webui.errors import WebUIError
from worker.prefect_internals import RUN_ID, WORKER_LABEL, WORKER_NAME

RECOVER_EVERY = 2.0  # seconds
RESUME_EVERY = 10.0  # seconds
DELETED_EVERY = 5.0  # seconds
INTERRUPT_AGAIN = 0.5  # seconds between two looks at the WebUI's orphans
GRACE = timedelta(seconds=5)  # a state is older than its process by this much at most: the process is being started
START_GRACE = timedelta(seconds=30)  # the same for a run that is being submitted
CANCEL_GRACE = timedelta(seconds=5)  # Prefect's own cancel comes at once, if it comes
CANCELLED_WITHIN = 8.0  # seconds for a run to interrupt its WebUI and end
KILL_GRACE = timedelta(seconds=35)  # Prefect kills a cancelled process after 30 s
CRASHES = "darkroom.crashes"  # label of a run: how often its process died while the worker lived
MOST_CRASHES = 3  # then it is quarantined
RESUME_WITHIN = timedelta(days=1)  # what stopped longer ago stays as it is

logger = logging.getLogger("darkroom.worker")


def worker_name() -> str:
    """This host's worker: a run's label tells where its process must be."""
    return f"darkroom {socket.gethostname()}"


def processes_of(runs: set[UUID]) -> dict[UUID, list[psutil.Process]]:
    """This host's processes of these runs, the one that the worker started first."""
    found: dict[UUID, list[psutil.Process]] = {}
    wanted = {str(run): run for run in runs}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            run = wanted.get(process.environ().get(RUN_ID, ""))
            if run is not None and process.status() != psutil.STATUS_ZOMBIE:
                found.setdefault(run, []).append(process)
    for processes in found.values():
        processes.sort(key=lambda one: one.create_time())
    return found


def processes_of_runs() -> list[psutil.Process]:
    """The runs' processes that this worker started, or one of its name before it that died."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            ours = environment.get(WORKER_NAME) == worker_name()
            here = environment.get("PREFECT_API_URL") == os.environ.get("PREFECT_API_URL")
            if ours and here and RUN_ID in environment:
                found.append(process)
    return found


async def recover_runs(client: PrefectClient, pool: str, since: datetime) -> None:
    """One look: correct the state of runs whose process is dead.

    Args:
        since: when this worker started. A run that died before it, died with its worker or its host.
    """
    runs = await _read(client, pool, {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}})
    ours = [run for run in runs if run.labels.get(WORKER_LABEL) == worker_name()]
    ours += [run for run in runs if WORKER_LABEL not in run.labels and run.state and run.state.is_pending()]
    living = await asyncio.to_thread(processes_of, {run.id for run in ours}) if ours else {}
    for run in ours:
        await _correct_state(client, run, living.get(run.id, []), since)


async def end_deleted_runs(client: PrefectClient, pool: str, _since: datetime) -> None:
    """One look: end the processes of runs that were deleted in Prefect; each interrupts its WebUI."""
    for process in await asyncio.to_thread(processes_of_runs):
        with contextlib.suppress(psutil.Error):
            run = UUID(process.environ()[RUN_ID])
            try:
                await client.read_flow_run(run)
            except ObjectNotFound:
                await client.read_work_pool(pool)  # else it is a proxy that says 404 while Prefect is away
                logger.warning("run %s was deleted in Prefect: its process is ended", run)
                process.terminate()
                for alive in (await asyncio.to_thread(psutil.wait_procs, [process], timeout=CANCELLED_WITHIN))[1]:
                    alive.kill()


async def resume_runs(client: PrefectClient, pool: str, since: datetime) -> None:
    """One look: put the crashed runs of this worker back into the queue, but for those that crashed while cancelled."""
    last_day = {"after_": datetime.now(UTC) - RESUME_WITHIN}
    for run in await _read(client, pool, {"state": {"type": {"any_": ["CRASHED"]}}, "end_time": last_day}):
        if run.labels.get(WORKER_LABEL) != worker_name() or run.state is None:
            continue
        # A run that Prefect called crashed because its server was away may be painting still.
        if await asyncio.to_thread(processes_of, {run.id}):
            continue
        states = sorted(await client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
        if len(states) > 1 and states[-2].is_cancelling():
            await client.set_flow_run_state(run.id, Cancelled(message="cancelled"), force=True)
        else:
            await _resume(client, run, with_worker=run.state.timestamp < since)


async def _read(client: PrefectClient, pool: str, wanted: dict[str, Any]) -> list[FlowRun]:
    return await client.read_flow_runs(
        work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
        flow_run_filter=FlowRunFilter.model_validate(wanted),
    )


async def _correct_state(client: PrefectClient, run: FlowRun, processes: list[psutil.Process], since: datetime) -> None:
    assert run.state is not None
    age = datetime.now(UTC) - run.state.timestamp
    if run.state.is_cancelling():
        await _finish_cancel(client, run, processes, age)
    elif processes:
        return
    elif run.state.is_pending() and age > START_GRACE:
        logger.warning("run %s: its worker died before it began; back into the queue", run.name)
        await client.set_flow_run_state(run.id, Scheduled(message="its worker died before it began"), force=True)
    elif run.state.is_running() and age > GRACE:
        now = (await client.read_flow_run(run.id)).state
        if now is not None and now.id == run.state.id:  # else it ended between the two looks, at Prefect and here
            await _resume(client, run, with_worker=run.state.timestamp < since)


async def _resume(client: PrefectClient, run: FlowRun, with_worker: bool) -> None:
    """Put a run whose process is dead back into the queue, at its old place; its finished pictures are kept.

    ``with_worker``: it died with its worker. Else it may be what kills its process (a picture too large for the
    memory, say), so it is tried only so often.
    """
    if with_worker:
        reason = "its worker or its host stopped; it goes on where it stood"
    else:
        crashes = 1 + int(str(run.labels.get(CRASHES, 0)))
        reason = f"its process died (killed, or out of memory), {crashes} of {MOST_CRASHES} times; "
        reason += "it goes on where it stood by itself"
        if crashes >= MOST_CRASHES:
            message = f"its process died {crashes} times while the worker lived: is the machine out of memory? "
            message += "It is not started again by itself; Retry tries once more and keeps the finished pictures"
            logger.warning("run %s is put aside: %s", run.name, message)
            await client.set_flow_run_state(run.id, Failed(name="Quarantined", message=message), force=True)
            return
        await client.update_flow_run_labels(run.id, {CRASHES: crashes})
    logger.warning("run %s: %s", run.name, reason)
    state: State[Any] = AwaitingRetry(scheduled_time=run.expected_start_time, message=reason)
    await client.set_flow_run_state(run.id, state, force=True)


async def _finish_cancel(client: PrefectClient, run: FlowRun, processes: list[psutil.Process], age: timedelta) -> None:
    """A cancel that Prefect's worker did not hear of (after the server was away, its listener can be deaf)."""
    if not processes and age > GRACE:
        await client.set_flow_run_state(run.id, Cancelled(message="its process is gone"), force=True)
    elif processes and age > CANCEL_GRACE:
        with contextlib.suppress(psutil.Error):
            processes[0].send_signal(signal.SIGKILL if age > KILL_GRACE else signal.SIGTERM)
        # No worker has told the process that this is a cancel, so it ends as Crashed.
        gone, _ = await asyncio.to_thread(psutil.wait_procs, processes[:1], timeout=CANCELLED_WITHIN)
        if gone:
            await client.set_flow_run_state(run.id, Cancelled(message="cancelled"), force=True)


class OrphanedJobs:
    """What dead runs left at any WebUI, to be stopped look by look; ``connect`` makes a client for an address."""

    def __init__(self, connect: Callable[[str], WebUIClient]) -> None:
        self._connect = connect
        self._jobs: list[Job] = []

    def look(self) -> int:
        """Take one step with each; returns how many are left."""
        self._jobs += orphans(self._connect)
        for job in list(self._jobs):
            known = job.stopping_since
            with contextlib.suppress(WebUIError):  # the next look tries again
                if job.stop():
                    self._jobs.remove(job)
                    job.close()
            if job.stopping_since != known:
                logger.warning("interrupted %s at %s: its run is dead", job.id, job.client.base_url)
        return len(self._jobs)


def client_for(base_url: str) -> WebUIClient:
    """A client with the user and password of the connection that points there, if one does."""
    for connection in _connections():
        if connection.base_url == base_url:
            return connection.get_client()
    return WebUI(base_url=base_url).get_client()


def _connections() -> Iterator[WebUI]:
    if (here := WebUI.from_settings()) is not None:
        yield here
    with contextlib.suppress(Exception):
        yield WebUI.chosen(None)
