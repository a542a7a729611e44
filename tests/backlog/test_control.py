"""The queue paused, resumed, cleared and retried as a whole."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prefect.client.orchestration import SyncPrefectClient

from backlog import change, control, queue
from backlog.control import Pause
from backlog.task import NotFinished, Status
from deployments.bootstrap import POOL
from tests.backlog.conftest import Force, job
from tests.servers import Prefect, paints
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI


def test_failed_and_stopped_tasks_are_retried_at_once(client: SyncPrefectClient, force: Force) -> None:
    ids = {kind: queue.add(client, job(kind)).id for kind in ("FAILED", "CRASHED", "CANCELLED", "COMPLETED")}
    for kind, task in ids.items():
        force(task, kind)
    assert control.retry_failed(client) == 2
    assert {task.name for task in queue.waiting(client)} == {"FAILED", "CRASHED"}


def test_the_history_is_cleared_by_status_and_age(client: SyncPrefectClient, force: Force) -> None:
    ids = {kind: queue.add(client, job(kind)).id for kind in ("FAILED", "CRASHED", "CANCELLED", "COMPLETED", "RUNNING")}
    queue.add(client, job("waits"))
    for kind, task in ids.items():
        force(task, kind)
    assert control.clear(client, [Status.COMPLETED], timedelta(hours=1)) == 0
    assert control.clear(client, [Status.COMPLETED, Status.CANCELLED]) == 2
    with pytest.raises(NotFinished, match="pending"):
        control.clear(client, [Status.PENDING])
    assert {task.name for task in queue.history(client)} == {"FAILED", "CRASHED"}
    assert control.clear(client) == 2
    assert [task.name for task in [*queue.running(client), *queue.waiting(client)]] == ["RUNNING", "waits"]


@pytest.mark.timeout(300)
def test_a_pause_begins_after_the_picture_or_at_once_and_loses_nothing(
    client: SyncPrefectClient, deployed: Prefect, held: EmbeddedWebUI
) -> None:
    stage = {"prompt": "a moon", "steps": 6, "width": 64, "height": 64, "seed": 7}
    task = queue.add(client, job("long", images=4, txt2img=stage)).id
    other = queue.add(client, job("other")).id
    with deployed.worker():
        until("it paints", lambda: paints(held, deployed, str(task)))
        control.pause(client, Pause.AFTER_PICTURE)
        until("it has handed back", lambda: "the queue is paused" in queue.show(client, task).info)
        assert [one.name for one in queue.waiting(client)] == ["long", "other"], "its old place"
        assert queue.overview(client).paused
        assert queue.show(client, task).progress >= 0.2
        finished = len(held.requests.of("POST", "/sdapi/v1/txt2img"))

        control.resume(client)
        until("it goes on", lambda: paints(held, deployed, str(task)))
        control.pause(client, Pause.NOW)
        until("it is interrupted", lambda: queue.show(client, task).status is Status.PAUSED, 30)
        assert control.clear(client) == 0, "it is not history"
        assert len(held.requests.of("POST", "/sdapi/v1/txt2img")) > finished
        control.resume(client)
        assert not client.read_work_pool(POOL).is_paused
        assert queue.show(client, task).status in (Status.PENDING, Status.RUNNING)
        held.steps.step_time = 0.0
        assert deployed.ends(str(other)) == "COMPLETED"
        change.cancel(client, task)
        until("it is cancelled", lambda: queue.show(client, task).status is Status.CANCELLED)
