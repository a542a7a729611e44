"""What the commands share: output, the address of Prefect's API, a client, a queue's errors as one line.

Prefect is imported inside functions: its address has to be in the environment before that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from backlog.task import Task

say = partial(print, flush=True)
complain = partial(print, file=sys.stderr, flush=True)


def need_prefect(*, deployed: bool = True) -> str:
    """The API's address. Where there is none, or it lacks what a job needs, the command says so and ends."""
    from services.stack import find_prefect

    api = find_prefect(say)
    from cli.check import prefect_findings

    for fine, text in prefect_findings(api):
        if not fine and (deployed or api is None):
            complain(text)
            raise SystemExit(2)
    assert api is not None, "that is the first problem"
    return api


@contextmanager
def queue_client() -> Iterator[SyncPrefectClient]:
    """A client for the queue. What the queue does not do is said in a line, and the command ends with 1."""
    need_prefect()
    from prefect.client.orchestration import get_client

    from backlog.task import QueueError

    with get_client(sync_client=True) as client:
        try:
            yield client
        except QueueError as error:
            complain(error)
            raise SystemExit(1) from None


def say_queued(task: Task) -> None:
    say(f"queued {task.name}, {task.id}: {task.link}")
