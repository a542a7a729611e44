"""What dead processes leave behind on this host: runs that nobody runs, jobs that a WebUI paints for nobody.

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
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psutil
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Crashed, Scheduled

from blocks.connection import WebUI
from gpu.inflight import orphans
from gpu.sender import interrupt_if_ours
from webui.client import WebUIClient
from webui.errors import NotFound, WebUIError

LOOK = 2.0  # seconds between two looks at the runs
INTERRUPT_AGAIN = 0.5  # seconds between two looks at the WebUI's orphans
GRACE = timedelta(seconds=5)  # a state is older than its process by this much at most: the process is being started
START_GRACE = timedelta(seconds=30)  # the same for a run that is being submitted
CANCEL_GRACE = timedelta(seconds=5)  # Prefect's own cancel comes at once, if it comes
CANCELLED_WITHIN = 8.0  # seconds for a run to interrupt its WebUI and end
KILL_GRACE = timedelta(seconds=35)  # Prefect's own patience, and a little
WORKER_LABEL = "prefect.worker.name"

logger = logging.getLogger(__name__)


def worker_name() -> str:
    """This host's worker: a run's label tells where its process must be."""
    return f"darkroom {socket.gethostname()}"


def processes_of(runs: set[UUID]) -> dict[UUID, list[psutil.Process]]:
    """This host's processes of these runs, the one that the worker started first."""
    found: dict[UUID, list[psutil.Process]] = {}
    wanted = {str(run): run for run in runs}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            run = wanted.get(process.environ().get("PREFECT__FLOW_RUN_ID", ""))
            if run is not None and process.status() != psutil.STATUS_ZOMBIE:
                found.setdefault(run, []).append(process)
    for processes in found.values():
        processes.sort(key=lambda one: one.create_time())
    return found


def children_that_run() -> list[psutil.Process]:
    """The runs' processes that this worker started, or one of its name before it that died."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            ours = environment.get("PREFECT__WORKER_NAME") == worker_name()
            here = environment.get("PREFECT_API_URL") == os.environ.get("PREFECT_API_URL")
            if ours and here and "PREFECT__FLOW_RUN_ID" in environment:
                found.append(process)
    return found


async def recover_runs(client: PrefectClient, pool: str) -> None:
    """One look: put right what Prefect believes of runs whose process is dead."""
    types = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    runs = await client.read_flow_runs(
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types))),
    )
    ours = [run for run in runs if run.labels.get(WORKER_LABEL) == worker_name()]
    ours += [run for run in runs if WORKER_LABEL not in run.labels and run.state and run.state.is_pending()]
    if not ours:
        return
    living = await asyncio.to_thread(processes_of, {run.id for run in ours})
    for run in ours:
        await _put_right(client, run, living.get(run.id, []))


async def _put_right(client: PrefectClient, run: FlowRun, processes: list[psutil.Process]) -> None:
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
        logger.warning("run %s: its process is dead", run.name)
        message = "its process is gone (killed, or out of memory); Retry goes on where it stopped"
        await client.set_flow_run_state(run.id, Crashed(message=message), force=True)


async def _finish_cancel(client: PrefectClient, run: FlowRun, processes: list[psutil.Process], age: timedelta) -> None:
    """A cancel that Prefect's worker did not hear of (after the server was away, its listener can be deaf)."""
    if not processes and age > GRACE:
        await client.set_flow_run_state(run.id, Cancelled(message="its process is gone"), force=True)
    elif processes and age > CANCEL_GRACE:
        with contextlib.suppress(psutil.Error):
            processes[0].send_signal(signal.SIGKILL if age > KILL_GRACE and os.name == "posix" else signal.SIGTERM)
        # No worker has told the process that this is a cancel, so it ends as Crashed.
        gone, _ = await asyncio.to_thread(psutil.wait_procs, processes[:1], timeout=CANCELLED_WITHIN)
        if gone:
            await client.set_flow_run_state(run.id, Cancelled(message="cancelled"), force=True)


class OrphanedJobs:
    """Interrupts jobs at WebUIs whose run is dead, again and again until they are gone. Only ours, ever.

    Again, because an interrupt that comes before a job begins is lost, and because the dead run's job may still be
    waiting in the WebUI's queue.
    """

    def __init__(self) -> None:
        self._gone: set[str] = set()  # task ids that the WebUI did not know at the last look

    def look(self) -> int:
        """One look; returns how many are left."""
        left = 0
        for note, base_url, task_id in orphans():
            if self._is_over(base_url, task_id):
                note.unlink(missing_ok=True)
                self._gone.discard(task_id)
            else:
                left += 1
        return left

    def _is_over(self, base_url: str, task_id: str) -> bool:
        client = _client_for(base_url)
        try:
            if interrupt_if_ours(client, task_id):
                logger.warning("interrupted %s at %s: its run is dead", task_id, base_url)
                return False
            job = client.task_progress(task_id)
            if job is None or job.active or job.queued:
                return False
        except NotFound:
            return True  # no /internal routes: nobody can tell whose job runs
        except WebUIError:
            return False
        finally:
            client.close()
        # Twice: a request that was just sent is neither queued nor active yet.
        again = task_id in self._gone
        self._gone.add(task_id)
        return again


def _client_for(base_url: str) -> WebUIClient:
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
