"""The tasks of the queue: listed, added, changed, ended. Each function takes Prefect's synchronous client.

All raise ``NotFound`` for an id that there is none of, and ``Refused`` where Prefect did not do it; see
``task.QueueError`` for the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from pydantic import BaseModel

from backlog.task import Status, Task
from flows.job import GenerationJob


class Overview(BaseModel):
    """The queue as a whole.

    Attributes:
        counts: tasks in each status; the waiting ones are those that are due, not those that a timetable laid out.
        paused: whether the user paused it. on_hold: why the worker starts nothing; empty: it does.
        eta: seconds until all that waits is finished, estimated; None: not known.
    """

    counts: dict[Status, int]
    paused: bool = False
    on_hold: str = ""
    eta: float | None = None


def overview(client: SyncPrefectClient) -> Overview:
    """How many tasks there are in each status, whether the queue is paused, and when it will be empty."""
    raise NotImplementedError


def waiting(client: SyncPrefectClient, offset: int = 0, limit: int = 100) -> list[Task]:
    """A page of what is due or will be within two minutes, in the order that users set, with position and ETA. The
    worker may take one before another whose checkpoint is not loaded; one that was moved is never passed over.
    """
    raise NotImplementedError


def running(client: SyncPrefectClient) -> list[Task]:
    """What is under way, with progress and ETA; the longest running first."""
    raise NotImplementedError


def history(
    client: SyncPrefectClient, statuses: Iterable[Status] = (), offset: int = 0, limit: int = 100
) -> list[Task]:
    """A page of what has ended, the latest first; ``statuses``: only these."""
    raise NotImplementedError


def show(client: SyncPrefectClient, task: UUID) -> Task:
    """One task with all that is known of it, its pictures and progress too; no position and ETA."""
    raise NotImplementedError


def add(
    client: SyncPrefectClient,
    job: GenerationJob | Mapping[str, Any],
    *,
    priority: int = 0,
    labels: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    webui: str | None = None,
) -> Task:
    """Queue a job.

    Args:
        job: its files are copied into the store. A mapping that names no checkpoint gets the one that the WebUI has
            selected now.
        labels: further labels of the run, such as whose it is.
        idempotency_key: with the key of an earlier call, that call's task is returned and nothing is queued.
        webui: slug of the connection block to paint with (``webui/other``); None: the default one.

    Raises:
        InvalidJob: the job is wrong, or one of its files is missing.
    """
    raise NotImplementedError


def edit(client: SyncPrefectClient, task: UUID, changes: Mapping[str, Any]) -> Task:
    """Change the job of a waiting task, checked as a new one is.

    Args:
        changes: laid over the job: ``{"txt2img": {"steps": 30}}``; None removes what it names.

    Raises:
        InvalidJob: the job would be wrong, or the task is no single job.
        Running, Finished, OfTimetable: it can't be changed any more.
        StartedMeanwhile: it was started while it was changed.
    """
    raise NotImplementedError


def duplicate(client: SyncPrefectClient, task: UUID, changes: Mapping[str, Any] | None = None) -> Task:
    """Queue a new task with another one's parameters and priority, whatever its state; ``changes`` as for edit.

    Raises:
        InvalidJob: the job would be wrong, or the task is no single job and there are changes.
    """
    raise NotImplementedError


def retry(client: SyncPrefectClient, task: UUID) -> Task:
    """Put a failed, cancelled or stopped task back into the queue: the same run, which keeps its finished pictures.

    Raises:
        NotFinished: it waits or runs.
        Finished: it is completed; duplicate it to have its pictures painted again.
    """
    raise NotImplementedError


def cancel(client: SyncPrefectClient, task: UUID) -> Task:
    """Cancel a waiting or running task; a running one ends within seconds, and until then it is ``running``.

    Raises:
        Finished: it has ended.
    """
    raise NotImplementedError


def delete(client: SyncPrefectClient, task: UUID) -> None:
    """Remove a task that is not under way, with its history; its pictures in the gallery stay.

    Raises:
        Running: cancel it first.
    """
    raise NotImplementedError


def move(client: SyncPrefectClient, task: UUID, to: str | UUID) -> Task:
    """Move a waiting task: ``to`` is ``"top"``, ``"bottom"`` or the id of the waiting task that it is to precede. It
    takes the priority of its new neighbours where its own would not let it stand there.

    Raises:
        Running, Finished, OfTimetable: it, or the other, does not wait any more.
    """
    raise NotImplementedError


def set_priority(client: SyncPrefectClient, task: UUID, priority: int) -> Task:
    """Give a waiting task another priority: lower runs first, 0 is usual. It keeps its place among its new peers.

    Raises:
        Running, Finished, OfTimetable: it does not wait any more.
    """
    raise NotImplementedError
