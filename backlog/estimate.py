"""How long a task takes: its work times the seconds that the last tasks of its checkpoint took for theirs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from statistics import median
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.client.schemas.sorting import FlowRunSort

from backlog.order import IN_POOL
from backlog.task import Task, as_task

LATEST = 20  # completed tasks that are looked at
KEPT_FOR = 60.0  # seconds that they are remembered: to find the latest of 20,000 costs Prefect more than a page does
KEPT: dict[str, tuple[float, dict[str, list[float]]]] = {}  # by the API's address: when it was asked, and what it said
COMPLETED = FlowRunFilter.model_validate({"state": {"type": {"any_": ["COMPLETED"]}}})


class Estimate:
    """What is known from the latest completed tasks, loads of checkpoints and waits for the GPU included."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._rates: dict[str, list[float]] = {}  # seconds per step, by checkpoint
        taken, rates = KEPT.get(str(client.api_url), (0.0, self._rates))
        if rates and time.monotonic() < taken + KEPT_FOR:
            self._rates = rates
            return
        for run in client.read_flow_runs(
            work_pool_filter=IN_POOL, flow_run_filter=COMPLETED, sort=FlowRunSort.END_TIME_DESC, limit=LATEST
        ):
            task = as_task(run)
            if task.work:
                self._rates.setdefault(task.checkpoint, []).append(run.total_run_time.total_seconds() / task.work)
        KEPT[str(client.api_url)] = time.monotonic(), self._rates

    @property
    def known(self) -> bool:
        """Whether there is anything to go by."""
        return bool(self._rates)

    def seconds(self, task: Task) -> float | None:
        """For the whole task; None: nothing is known of it."""
        return self.seconds_of(task.checkpoint, task.work)

    def seconds_of(self, checkpoint: str, work: float) -> float | None:
        """For so much work with a checkpoint."""
        rates = self._rates.get(checkpoint) or [rate for each in self._rates.values() for rate in each]
        return median(rates) * work if rates and work else None

    def left(self, task: Task) -> float | None:
        """For the rest of a task that is under way."""
        seconds = self.seconds(task)
        return None if seconds is None else seconds * (1 - task.progress)

    def of_others(self, tasks: Sequence[Task]) -> float:
        """Seconds of a task of which nothing is known, beside these."""
        known = [seconds for task in tasks if (seconds := self.seconds(task)) is not None]
        return median(known) if known else 0.0


def progress_of(client: SyncPrefectClient, tasks: Iterable[UUID]) -> dict[UUID, float]:
    """How far tasks are, 0 to 1, as their artifacts say."""
    wanted = ArtifactFilter.model_validate({"flow_run_id": {"any_": list(tasks)}, "key": {"any_": ["job-progress"]}})
    return {
        one.flow_run_id: float(one.data) / 100
        for one in client.read_artifacts(artifact_filter=wanted)
        if one.flow_run_id is not None and isinstance(one.data, (int, float))
    }
