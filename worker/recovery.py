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
import time
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
STOPPED_FOR = 20.0  # seconds that a process may stand still by a signal; nothing that works takes so long
STOPPED_EVERY = 5.0  # seconds
INTERRUPT_AGAIN = 0.5  # seconds between two looks at the WebUI's orphans
GRACE = 5.0  # seconds; a state is older than its process by this much at most: the process is being started
START_GRACE = 30.0  # seconds; the same for a run that is being submitted
CANCEL_GRACE = 5.0  # seconds; Prefect's own cancel comes at once, if it comes
CANCELLED_WITHIN = 8.0  # seconds for a run to interrupt its WebUI and end
KILL_GRACE = 35.0  # seconds; Prefect kills a cancelled process after 30 s
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


def own_processes(*, stopped: bool = False) -> Iterator[tuple[psutil.Process, str]]:
    """What this worker started, or one of its name before it that died, each with its run's id; a fork server and its
    forks have none. ``stopped``: only what somebody has stopped (SIGSTOP)."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            ours = environment.get(WORKER_NAME) == worker_name()
            ours &= environment.get("PREFECT_API_URL") == os.environ.get("PREFECT_API_URL")
            if ours and (not stopped or process.status() == psutil.STATUS_STOPPED):
                yield process, environment.get(RUN_ID, "")


class StoppedProcesses:
    """Lets processes go on that somebody has stopped: a stopped run holds its slot and the GPU for ever.

    One that is stopped again is killed, and its run resumes.
    """

    def __init__(self) -> None:
        self._since: dict[psutil.Process, float] = {}  # when each was first seen stopped, on the monotonic clock
        self._continued: set[psutil.Process] = set()

    async def look(self, *_: object) -> None:
        now, stopped = time.monotonic(), await asyncio.to_thread(lambda: list(own_processes(stopped=True)))
        self._since = {process: self._since.get(process, now) for process, _ in stopped}
        self._continued = {process for process in self._continued if process.is_running()}
        for process in [one for one, since in self._since.items() if now - since >= STOPPED_FOR]:
            again = process in self._continued
            what = "again: it is killed, and its run resumes" if again else "and is let go on"
            logger.warning("process %d of a run was stopped (SIGSTOP) for %g s %s", process.pid, STOPPED_FOR, what)
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL if again else signal.SIGCONT)
            self._continued.add(process)


class Recovery:
    """Corrects the state of this worker's runs whose process is dead.

    Ages are counted from when a state was first seen here: the clocks of Prefect's host and of this one may differ, and
    jump.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seen: dict[UUID | None, float] = {}  # when each run's state was first seen, on the monotonic clock

    async def recover(self, client: PrefectClient, pool: str) -> None:
        """One look at the runs that hold a slot or are being cancelled."""
        runs = await read_runs(client, pool, {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}})
        ours = [run for run in runs if run.labels.get(WORKER_LABEL) == worker_name()]
        ours += [run for run in runs if WORKER_LABEL not in run.labels and run.state and run.state.is_pending()]
        now = time.monotonic()
        self._seen = {run.state_id: self._seen.get(run.state_id, now) for run in ours}
        living = await asyncio.to_thread(processes_of, {run.id for run in ours}) if ours else {}
        for run in ours:
            with _of(run):
                await self._correct_state(client, run, living.get(run.id, []), now - self._seen[run.state_id])

    async def resume(self, client: PrefectClient, pool: str) -> None:
        """One look: put the crashed runs of this worker back into the queue, but for those that were cancelled."""
        last_day = {"after_": datetime.now(UTC) - RESUME_WITHIN}
        for run in await read_runs(client, pool, {"state": {"type": {"any_": ["CRASHED"]}}, "end_time": last_day}):
            # A run that Prefect called crashed because its server was away may be painting still.
            if run.labels.get(WORKER_LABEL) == worker_name() and not await asyncio.to_thread(processes_of, {run.id}):
                with _of(run):
                    states = await client.read_flow_run_states(run.id)
                    before = sorted(states, key=lambda state: state.timestamp)[:-1]
                    if before and before[-1].is_cancelling():
                        await client.set_flow_run_state(run.id, Cancelled(message="cancelled"), force=True)
                    else:
                        await self._resume(client, run)

    async def _correct_state(
        self, client: PrefectClient, run: FlowRun, processes: list[psutil.Process], age: float
    ) -> None:
        assert run.state is not None
        if run.state.is_cancelling():
            await _finish_cancel(client, run, processes, age)
        elif processes:
            return
        elif run.state.is_pending() and age > START_GRACE and await _is_unchanged(client, run):
            logger.warning("run %s: its worker died before it began; back into the queue", run.name)
            await client.set_flow_run_state(run.id, Scheduled(message="its worker died before it began"), force=True)
        elif run.state.is_running() and age > GRACE:
            await self._resume(client, run)

    async def _resume(self, client: PrefectClient, run: FlowRun) -> None:
        """Put a run whose process is dead back into the queue, at its old place; its finished pictures are kept.

        If it did not die with its worker it may be what kills its process (a picture too large for the memory, say),
        so it is tried only so often.
        """
        if run.state is None or not await _is_unchanged(client, run):
            return
        began = datetime.now(UTC) - timedelta(seconds=time.monotonic() - self._began)  # by the clock as it is now
        if run.state.timestamp < began:
            reason = "its worker or its host stopped; it goes on where it stood"
        else:
            count = run.labels.get(CRASHES)
            crashes = 1 + (count if isinstance(count, int) else 0)
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


async def end_deleted_runs(client: PrefectClient, pool: str) -> None:
    """One look: end the processes of runs that were deleted in Prefect; each interrupts its WebUI."""
    for process, run in await asyncio.to_thread(lambda: list(own_processes())):
        with contextlib.suppress(psutil.Error, ValueError):
            try:
                if run:
                    await client.read_flow_run(UUID(run))
            except ObjectNotFound:
                await client.read_work_pool(pool)  # else it is a proxy that says 404 while Prefect is away
                logger.warning("run %s was deleted in Prefect: its process is ended", run)
                process.terminate()
                for alive in (await asyncio.to_thread(psutil.wait_procs, [process], timeout=CANCELLED_WITHIN))[1]:
                    alive.kill()


async def read_runs(client: PrefectClient, pool: str, wanted: dict[str, Any]) -> list[FlowRun]:
    return await client.read_flow_runs(
        work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
        flow_run_filter=FlowRunFilter.model_validate(wanted),
    )


async def _is_unchanged(client: PrefectClient, run: FlowRun) -> bool:
    """Whether it has neither begun, ended nor been retried since it was read."""
    return (await client.read_flow_run(run.id)).state_id == run.state_id


@contextlib.contextmanager
def _of(run: FlowRun) -> Iterator[None]:
    """What fails for one run keeps nobody from the others."""
    try:
        yield
    except Exception as error:
        logger.warning("run %s could not be taken up again, which is tried again soon: %s", run.name, error)


async def _finish_cancel(client: PrefectClient, run: FlowRun, processes: list[psutil.Process], age: float) -> None:
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
    """A client with the user and password of the default connection, if that points there."""
    with contextlib.suppress(Exception):  # Prefect is away
        if (default := WebUI.chosen(None)).base_url == base_url:
            return default.get_client()
    return WebUI(base_url=base_url).get_client()
