"""What a run says of itself while it waits."""

from __future__ import annotations

from collections.abc import Callable

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.states import Running


def waiting_status() -> Callable[[str | None], None]:
    """A function to call, from any thread, with why the run waits, and with None when it goes on.

    The reason stands in the log and as the state's name and message in the UI. The state stays of type RUNNING: a
    pool counts it, and a cancel reaches it.
    """
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    run, logger = context.flow_run.id, get_run_logger()

    def say(reason: str | None) -> None:
        logger.info("waiting: %s", reason) if reason else logger.info("waited long enough, going on")
        state = Running(name="Waiting", message=reason) if reason else Running()
        try:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(run, state, force=True)
        except Exception as error:
            logger.debug("the waiting state could not be set: %s", error)

    return say
