"""The queue as a whole: paused and resumed, its failures retried, its history cleared."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum

from prefect.client.orchestration import SyncPrefectClient

from backlog.task import Status


class Pause(StrEnum):
    """When a pause begins. ``AFTER_PICTURE``: what is under way goes back to its place after its picture, and keeps
    its finished ones. ``NOW``: also after its picture, which is interrupted and painted again after the pause.
    """

    AFTER_TASK = "after-task"
    AFTER_PICTURE = "after-picture"
    NOW = "now"


def pause(client: SyncPrefectClient, when: Pause = Pause.AFTER_TASK) -> None:
    """Start nothing more until resume. It is the work pool's own pause, which the Prefect UI shows and lifts, too."""
    raise NotImplementedError


def resume(client: SyncPrefectClient) -> None:
    """Lift the pause."""
    raise NotImplementedError


def retry_failed(client: SyncPrefectClient) -> int:
    """Retry every failed and stopped task; returns how many."""
    raise NotImplementedError


def clear(client: SyncPrefectClient, statuses: Iterable[Status], older_than: timedelta = timedelta(0)) -> int:
    """Remove what has ended in one of these ways and so long ago; returns how many.

    Raises:
        ValueError: one of the statuses is not that of an ended task.
    """
    raise NotImplementedError
