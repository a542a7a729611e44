"""What a run knows and says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.states import Running


def this_run() -> FlowRun:
    """The flow run that is running."""
    context = FlowRunContext.get()
    assert context is not None and isinstance(context.flow_run, FlowRun), "outside of a flow run"
    return context.flow_run


def waiting_status() -> Callable[[str | None], None]:
    """A function to call, from any thread, with why the run waits, and with None when it goes on.

    The reason stands in the log and as the state's name and message in the UI. The state stays of type RUNNING: a
    pool counts it, and a cancel reaches it.
    """
    run, logger = this_run().id, get_run_logger()

    def say(reason: str | None) -> None:
        logger.info("waiting: %s", reason) if reason else logger.info("waited long enough, going on")
        state: State[Any] = Running(name="Waiting", message=reason) if reason else Running()
        try:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(run, state, force=True)
        except Exception as error:
            logger.debug("the waiting state could not be set: %s", error)

    return say
