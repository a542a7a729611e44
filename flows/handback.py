"""Handing back: a run that is under way makes room, and goes on later.

It sends nothing more; when the picture that is at the WebUI is done, the run goes back to its old place in the queue,
with the reason, and its process ends. The pool's slot and the GPU are free then, and when the worker starts the run
again, it resumes after its finished pictures.

A run hands back when somebody asks for it (:func:`ask_to_hand_back`), and when its WebUI is away. A run that was
started by hand is in no queue: it does not look whether it is asked, and waits for its WebUI.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.states import AwaitingRetry

from blocks.connection import WebUI, why_not_ready
from store.files import write_whole
from store.settings import settings
from tasks.status import this_run
from webui.client import WebUIClient
from webui.errors import NotFound, Unavailable, Unreachable

LOOK_EVERY = 5.0  # seconds between two looks whether the WebUI is back
AGAIN_IN = timedelta(seconds=60)  # for a WebUI that the worker does not watch, and so does not wait for

P = ParamSpec("P")
T = TypeVar("T")


class HandBack(Exception):
    """The run is to hand back; the message is the reason. ``not_before``: when it may be started again; None: at once,
    from its old place."""

    def __init__(self, reason: str, not_before: datetime | None = None) -> None:
        super().__init__(reason)
        self.not_before = not_before


def ask_to_hand_back(run: UUID | str, reason: str) -> None:
    """Ask a run that is under way on this machine to hand back before its next request; returns at once.

    A run that is not under way does so when it is started. Whoever asks sees to it that the run is not started again
    too soon: it goes back to its old place, which may be the first.
    """
    write_whole(_request(run), reason.encode())


def forget_request(run: UUID | str) -> None:
    """Whatever a run was asked, this attempt of it is over."""
    _request(run).unlink(missing_ok=True)


def _request(run: UUID | str) -> Path:
    return settings().home / "hand-back" / str(run)


def check_not_asked(run: UUID | str) -> None:
    """Some microseconds, so that it can stand before each send.

    Raises:
        HandBack: somebody asked.
    """
    with suppress(FileNotFoundError):
        raise HandBack(_request(run).read_text())


@contextmanager
def handing_back() -> Iterator[None]:
    """Around what may raise HandBack. Everything else that may set the run's state has to be over at its end.

    Raises:
        Abort: in place of HandBack; Prefect then ends the run's process and leaves the state as we set it.
    """
    try:
        yield
    except HandBack as why:
        run, message = this_run(), f"handed back, to go on later with its finished pictures: {why}"
        get_run_logger().warning(message)
        due = why.not_before or run.expected_start_time
        state: State[Any] = AwaitingRetry(scheduled_time=due, message=message)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, state)  # not by force: a run that is being cancelled stays so
        raise Abort(message) from None


def unless_away(client: WebUIClient, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``call`` returns. While the WebUI is away, a run from the queue hands back, and one by hand waits.

    The WebUI is away when ``call`` fails, after its own retries, with what an absent WebUI gives, and then is not
    ready by the worker's own measure: so the worker starts nothing before it is back. With the default back-off a
    task's three retries take 14 s (7 to 21, with their jitter), and up to 12 s more where connecting times out; for so
    long a run without a WebUI keeps its slot.

    Raises:
        HandBack: the WebUI is away.
    """
    was_ready = False
    while True:
        try:
            return call(*args, **kwargs)
        except (Unreachable, Unavailable, NotFound) as error:
            # FastAPI's words for a route that it does not have, as a WebUI that starts; else some thing is missing.
            if isinstance(error, NotFound) and error.said != "Not Found":
                raise
            reason = why_not_ready(client)
            if not reason and was_ready:
                raise  # it is there, and this does not work
            was_ready = not reason  # it came back just now: once more
        if reason:
            _wait_for(client, f"the WebUI is away: {reason}")


def _wait_for(client: WebUIClient, reason: str) -> None:
    if this_run().deployment_id is not None:
        with suppress(ValueError):  # there is no default
            if WebUI.chosen(None).base_url == client.base_url:
                raise HandBack(reason)  # the worker watches this one, and holds all runs until it is back
        raise HandBack(reason, datetime.now(UTC) + AGAIN_IN)
    get_run_logger().warning("waiting: %s", reason)
    while why_not_ready(client):
        time.sleep(LOOK_EVERY)
    get_run_logger().info("the WebUI is back")
