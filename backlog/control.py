"""The queue as a whole: paused and resumed, its failures retried, its history cleared."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import AwaitingRetry, Cancelling

from backlog.change import retry
from backlog.queue import read, read_runs, set_state
from backlog.task import ENDED, INTERRUPTED, STATUS, NotFinished, QueueError, Status
from deployments.bootstrap import POOL
from flows.handback import ask_to_hand_back

CANCELLED_WITHIN = 40.0  # seconds; Prefect kills a cancelled process after 30 s
LOOK_EVERY = 0.5  # seconds


class Pause(StrEnum):
    """When the work that is under way stops for a pause; new work starts in none of them.

    - after-task: when it is done
    - after-picture: after the picture that is being painted; it returns to its place with its finished pictures
    - now: at once; the picture is painted again after the pause
    """

    AFTER_TASK = "after-task"
    AFTER_PICTURE = "after-picture"
    NOW = "now"


def pause(client: SyncPrefectClient, when: Pause = Pause.AFTER_TASK) -> None:
    """Start nothing more until resume. It is the work pool's own pause, which the Prefect UI shows and lifts, too.

    ``AFTER_PICTURE`` reaches the runs of this machine's worker only. Resume a pause with ``NOW`` by :func:`resume`:
    the Prefect UI lifts the pause, but does not retry what it has cancelled.
    """
    client.update_work_pool(POOL, WorkPoolUpdate(is_paused=True))
    if when is Pause.AFTER_TASK:
        return
    for run in _all(client, [StateType.PENDING, StateType.RUNNING]):
        if when is Pause.AFTER_PICTURE:
            ask_to_hand_back(run.id, "the queue is paused")
        else:
            client.update_flow_run(run.id, tags=[*run.tags, INTERRUPTED])
            set_state(client, run, Cancelling(message="the queue is paused"))


def resume(client: SyncPrefectClient) -> None:
    """Lift the pause, and put back what it has cancelled; waits up to 40 s for a run that is still being cancelled."""
    deadline = time.monotonic() + CANCELLED_WITHIN
    for run in list(_all(client, list(STATUS), tag=INTERRUPTED)):
        while run.state is not None and run.state.is_cancelling() and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
            run = read(client, run.id)
        client.update_flow_run(run.id, tags=[tag for tag in run.tags if tag != INTERRUPTED])
        if run.state is not None and run.state.is_cancelled():
            due = run.expected_start_time  # its old place
            set_state(client, run, AwaitingRetry(scheduled_time=due, message="the queue goes on"))
    client.update_work_pool(POOL, WorkPoolUpdate(is_paused=False))


def retry_failed(client: SyncPrefectClient) -> int:
    """Retry every failed and stopped task; returns how many. One that Prefect refuses stays failed."""
    done = 0
    for run in list(_all(client, [StateType.FAILED, StateType.CRASHED])):
        with suppress(QueueError):
            retry(client, run.id)
            done += 1
    return done


def clear(client: SyncPrefectClient, statuses: Iterable[Status] = ENDED, older_than: timedelta = timedelta(0)) -> int:
    """Remove what has ended in one of these ways so long ago, with its history; its pictures in the gallery stay.
    Returns how many.

    Raises:
        NotFinished: one of the statuses is not that of an ended task.
    """
    wanted = set(statuses)
    if unended := wanted - set(ENDED):
        raise NotFinished(f"only what has ended can be cleared, not what is {', '.join(sorted(unended))}: cancel it")
    kinds = [kind for kind, status in STATUS.items() if status in wanted]
    before = datetime.now(UTC) - older_than
    going = [run for run in _all(client, kinds, before=before) if INTERRUPTED not in run.tags]
    for run in going:
        client.delete_flow_run(run.id)
    return len(going)


def _all(
    client: SyncPrefectClient, kinds: list[StateType], *, tag: str = "", before: datetime | None = None
) -> Iterator[FlowRun]:
    """Every run of the queue in one of these states."""
    wanted: dict[str, object] = {"state": {"type": {"any_": kinds}}}
    if tag:
        wanted["tags"] = {"all_": [tag]}
    if before is not None:
        wanted["end_time"] = {"before_": before}
    offset = 0
    while page := read_runs(client, wanted, FlowRunSort.ID_DESC, offset):
        yield from page
        offset += len(page)
