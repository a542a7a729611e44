"""The queue's tasks, listed, added and changed at a real Prefect server."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image
from prefect.client.orchestration import SyncPrefectClient

from backlog import change, queue
from backlog.order import in_order
from backlog.task import (
    STATUS,
    Finished,
    InvalidJob,
    NotFinished,
    NotFound,
    OfTimetable,
    QueueError,
    Refused,
    Running,
    StartedMeanwhile,
    Status,
)
from tests.backlog.conftest import Force, job
from tests.servers import Prefect
from webui.embedded.server import EmbeddedWebUI


def names(client: SyncPrefectClient) -> list[str]:
    return [task.name for task in queue.waiting(client)]


def test_every_state_of_prefects_is_a_status() -> None:
    from prefect.client.schemas.objects import StateType

    assert set(STATUS) == set(StateType)


def test_a_job_that_is_added_waits_with_all_that_is_known_of_it(client: SyncPrefectClient, deployed: Prefect) -> None:
    added = queue.add(client, job(images=2), priority=3)
    [task] = queue.waiting(client)
    assert task.id == added.id
    assert (task.name, task.task_type, task.status, task.position) == ("moon", "txt2img", Status.PENDING, 1)
    assert (task.checkpoint, task.prompt, task.pictures, task.priority) == ("photo", "a moon", 2, 3)
    assert task.params["job"]["txt2img"]["steps"] == 4
    assert task.created is not None and task.started is None and task.completed is None
    assert task.link == f"{deployed.api.removesuffix('/api')}/runs/flow-run/{task.id}"
    assert queue.show(client, task.id).created == task.created


def test_a_job_is_checked_when_it_is_added_and_its_files_are_kept(client: SyncPrefectClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidJob, match=r"txt2img\.steps"):
        queue.add(client, job(txt2img={"prompt": "x", "steps": 1000}))
    with pytest.raises(InvalidJob, match=r"nowhere\.png: no such file"):
        queue.add(client, job(txt2img=None, init_images=["nowhere.png"], img2img={"prompt": "x"}))
    picture = tmp_path / "a.png"
    Image.new("RGB", (64, 64)).save(picture)
    task = queue.add(client, job(txt2img=None, init_images=[str(picture)], img2img={"prompt": "x"}))
    assert task.task_type == "img2img"
    [file] = task.params["job"]["init_images"]
    assert file.startswith("store:")
    assert [one.id for one in queue.waiting(client)] == [task.id]


def test_a_job_without_a_checkpoint_records_the_one_that_is_selected(
    client: SyncPrefectClient, painter: EmbeddedWebUI
) -> None:
    painter_says = queue.add(client, {key: value for key, value in job().items() if key != "checkpoint"}).checkpoint
    assert painter_says.partition(".")[0] in ("photo", "oil", "ink")


def test_the_same_key_queues_one_task(client: SyncPrefectClient) -> None:
    first = queue.add(client, job(), idempotency_key="k1", tags=["client:krita"])
    assert queue.add(client, job("other"), idempotency_key="k1").id == first.id
    assert "client:krita" in client.read_flow_run(first.id).tags
    assert names(client) == ["moon"]


def test_a_waiting_job_is_edited_and_checked_as_a_new_one(client: SyncPrefectClient) -> None:
    task = queue.add(client, job())
    changed = change.edit(client, task.id, {"name": "sun", "txt2img": {"steps": 9}, "upscale": {"upscaler": "Lanczos"}})
    assert changed.params["job"]["txt2img"]["steps"] == 9
    assert changed.params["job"]["txt2img"]["prompt"] == "a moon"
    assert (changed.name, client.read_flow_run(task.id).name) == ("sun", "sun")
    assert "upscale" not in change.edit(client, task.id, {"upscale": None}).params["job"]
    with pytest.raises(InvalidJob, match="steps"):
        change.edit(client, task.id, {"txt2img": {"steps": "many"}})
    assert queue.show(client, task.id).params == change.edit(client, task.id, {}).params


@pytest.mark.parametrize(
    "doing", [lambda c, t: change.edit(c, t, {"images": 2}), lambda c, t: change.move(c, t, "top")]
)
@pytest.mark.parametrize(
    ("state", "error"), [("RUNNING", Running), ("PENDING", Running), ("COMPLETED", Finished), ("CRASHED", Finished)]
)
def test_what_does_not_wait_is_not_changed(client, force: Force, doing, state: str, error: type[QueueError]) -> None:
    task = queue.add(client, job())
    force(task.id, state)
    with pytest.raises(error, match="moon is"):
        doing(client, task.id)
    assert client.read_flow_run(task.id).parameters == task.params


def test_a_task_that_was_started_while_it_was_edited_says_so(client, force: Force, monkeypatch) -> None:
    task = queue.add(client, job())
    write = client.update_flow_run

    def slowly(*args, **kwargs):
        force(task.id, "PENDING")
        return write(*args, **kwargs)

    monkeypatch.setattr(client, "update_flow_run", slowly)
    with pytest.raises(StartedMeanwhile, match="moon was started while it was changed"):
        change.edit(client, task.id, {"images": 2})


def test_a_run_of_a_timetable_is_not_edited(client: SyncPrefectClient, deployed: Prefect) -> None:
    nightly = deployed.deployment("generate/nightly")
    for one in nightly["schedules"]:
        deployed.call("PATCH", f"/deployments/{nightly['id']}/schedules/{one['id']}", {"active": True})
    try:
        deployed.call("POST", f"/deployments/{nightly['id']}/schedule", {})
        run = client.read_flow_runs()[0]
        assert run.auto_scheduled
        with pytest.raises(OfTimetable, match="laid out by a timetable"):
            change.edit(client, run.id, {"images": 2})
        assert queue.waiting(client) == [], "not due yet"
        assert change.duplicate(client, run.id, {"images": 2}).params["job"]["images"] == 2
    finally:
        for one in nightly["schedules"]:
            deployed.call("PATCH", f"/deployments/{nightly['id']}/schedules/{one['id']}", {"active": False})


def test_cancel_retry_requeue_and_delete(client: SyncPrefectClient, force: Force) -> None:
    task = queue.add(client, job(), priority=2)
    with pytest.raises(NotFinished, match="moon is pending"):
        change.retry(client, task.id)
    assert change.cancel(client, task.id).status is Status.CANCELLED
    with pytest.raises(Finished, match="nothing to cancel"):
        change.cancel(client, task.id)
    again = change.retry(client, task.id)
    assert (again.id, again.status, again.state) == (task.id, Status.PENDING, "AwaitingRetry")
    force(task.id, "COMPLETED")
    with pytest.raises(Finished, match="requeue"):
        change.retry(client, task.id)
    new = change.duplicate(client, task.id)
    assert new.id != task.id
    assert (new.params, new.priority, new.name) == (task.params, 2, "moon")
    force(task.id, "RUNNING")
    with pytest.raises(Running, match="cancel it first"):
        change.delete(client, task.id)
    assert change.cancel(client, task.id).status is Status.RUNNING
    assert change.cancel(client, task.id).state == "Cancelling"
    force(task.id, "CANCELLED")
    change.delete(client, task.id)
    for doing in (change.retry, change.cancel, change.delete, change.duplicate, queue.show):
        with pytest.raises(NotFound, match="there is no task"):
            doing(client, task.id)
    with pytest.raises(NotFound):
        change.move(client, new.id, uuid4())
    with pytest.raises(Refused, match="darkroom deploy"):
        queue.create(client, "generate/no-such", "x", {})


def test_tasks_are_moved(client: SyncPrefectClient) -> None:
    ids = {name: queue.add(client, job(name)).id for name in "abcdef"}
    assert names(client) == list("abcdef")
    change.move(client, ids["d"], "top")
    change.move(client, ids["a"], "bottom")
    assert names(client) == list("dbcefa")
    change.move(client, ids["e"], ids["b"])
    change.move(client, ids["f"], ids["b"])
    assert names(client) == list("defbca")
    for _ in range(3):  # to and fro in the same gap
        change.move(client, ids["e"], ids["b"])
        change.move(client, ids["f"], ids["b"])
    assert names(client) == list("defbca")
    change.set_priority(client, ids["c"], -1)
    assert names(client) == list("cdefba")
    change.move(client, ids["a"], "top")
    assert names(client) == list("acdefb")
    assert queue.show(client, ids["a"]).priority == -1, "that of the one that it passed"
    change.move(client, ids["c"], "bottom")
    assert names(client) == list("adefbc")
    change.set_priority(client, ids["d"], 1)
    change.move(client, ids["f"], ids["d"])
    assert names(client) == list("aebcfd")
    assert [task.position for task in queue.waiting(client)] == [1, 2, 3, 4, 5, 6]


def test_a_page_anywhere_is_what_the_whole_list_has_there(client: SyncPrefectClient) -> None:
    ids = [queue.add(client, job(f"n{number:02}")).id for number in range(30)]
    for number, priority in ((3, -1), (20, -2), (11, 4), (29, 4)):
        change.set_priority(client, ids[number], priority)
    change.move(client, ids[25], ids[7])
    change.move(client, ids[1], "bottom")
    whole = [run.name for run in in_order(client, 0, 100)]
    assert len(whole) == len(set(whole)) == 30
    for limit in (1, 4, 7):
        for offset in range(0, 32, limit):
            found = [run.name for run in in_order(client, offset, limit)]
            assert found == whole[offset : offset + limit], (offset, limit)


def test_what_is_under_way_and_what_has_ended_are_lists_of_their_own(client: SyncPrefectClient, force: Force) -> None:
    first, second, third = (queue.add(client, job(name)) for name in ("first", "second", "third"))
    force(first.id, "RUNNING")
    force(second.id, "FAILED", message="no such checkpoint")
    assert [task.name for task in queue.running(client)] == ["first"]
    assert names(client) == ["third"]
    force(first.id, "COMPLETED")
    force(third.id, "CANCELLED")
    assert [task.name for task in queue.history(client)] == ["third", "first", "second"]
    assert [task.name for task in queue.history(client, offset=1, limit=1)] == ["first"]
    [failed] = queue.history(client, [Status.FAILED])
    assert (failed.error, failed.status) == ("no such checkpoint", Status.FAILED)
    counts = queue.overview(client).counts
    assert (counts[Status.COMPLETED], counts[Status.CANCELLED], counts[Status.FAILED]) == (1, 1, 1)


def test_the_eta_comes_of_what_the_last_tasks_took(client: SyncPrefectClient, force: Force) -> None:
    assert queue.overview(client).eta is None
    done, small, large = (
        queue.add(client, job(name, images=n)) for name, n in (("done", 1), ("small", 1), ("large", 3))
    )
    assert [task.eta for task in queue.waiting(client)] == [None, None, None]
    force(done.id, "RUNNING")
    force(done.id, "COMPLETED")
    took = client.read_flow_run(done.id).total_run_time.total_seconds()
    etas = [task.eta for task in queue.waiting(client)]
    assert etas == pytest.approx([took, 4 * took])
    assert queue.overview(client).eta == pytest.approx(4 * took)
    assert small.work * 3 == large.work
