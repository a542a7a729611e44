"""The flow run that is running: where its results lie, and its state while it waits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH
from prefect.states import Running

# Prefect's own folder for results on this machine. They are references to files on this machine, so they belong
# nowhere else; and with no place named, each run asks the server twice whether there is another.
RESULTS: Path = PREFECT_LOCAL_STORAGE_PATH.value()


def this_run() -> FlowRun:
    """The flow run that is running."""
    context = FlowRunContext.get()
    assert context is not None and isinstance(context.flow_run, FlowRun), "outside of a flow run"
    return context.flow_run


def due_at() -> datetime:
    """When this run was to start, in local time: the same on every retry, so that what is named by it is, too."""
    due = this_run().expected_start_time or this_run().created
    assert due is not None, "Prefect sets one when it creates the run"
    return due.astimezone()


class RunState:
    """Shows in a run's log and state why it waits; from any thread, and never in the GPU's time.

    The state stays of type RUNNING: a pool counts it, and a cancel reaches it. A thread of its own tells Prefect, in
    order; :meth:`close` before the run's end, or a late update would undo its final state.
    """

    def __init__(self) -> None:
        self._run, self._logger = this_run().id, get_run_logger()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="run-state")

    def waiting(self, reason: str | None) -> None:
        """Show why the run waits; None: it goes on."""
        self._thread.submit(self._set, reason)

    def close(self) -> None:
        """Wait until Prefect has been told everything."""
        self._thread.shutdown()

    def _set(self, reason: str | None) -> None:
        self._logger.info(f"waiting: {reason}" if reason else "the wait is over")
        state: State[Any] = Running(name="Waiting", message=reason) if reason else Running()
        try:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(self._run, state)  # not by force: a run that is being cancelled stays so
        except Exception as error:
            self._logger.debug("the waiting state could not be set: %s", error)
