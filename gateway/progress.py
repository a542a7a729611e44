"""Progress of tasks by their ids: of the whole queue, not only of what the WebUI holds; a reload changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.sorting import FlowRunSort
from pydantic import BaseModel

from backlog import queue
from backlog.order import MOST, count_waiting, in_order
from backlog.task import ENDED, NotFound, Status, Task
from gateway.jobs import answer, client_tag, id_tag
from gpu.job import sent_for
from tasks.raw import answer_of
from webui.client import WebUIClient
from webui.errors import WebUIError

router = APIRouter(prefix="/internal", tags=["progress"])
FINISHED = 0.99  # of a picture whose run has not ended yet


@dataclass(frozen=True)
class Seen:
    """What can be told of a task's progress now: ``fraction`` 0 to 1, ``eta`` in seconds."""

    fraction: float = 0.0
    eta: float | None = None
    step: int | None = None
    steps: int | None = None
    preview: str | None = None
    preview_id: int = -1


class Ask(BaseModel):
    """A question of the WebUI's own page: the id of a task of this queue, its client's or the flow run's."""

    id_task: str = ""
    id_live_preview: int = -1
    live_preview: bool = True


class Progress(BaseModel):
    """The WebUI's answer to it, for the whole queue."""

    active: bool
    queued: bool
    completed: bool
    progress: float | None = None
    eta: float | None = None
    live_preview: str | None = None
    id_live_preview: int | None = None
    textinfo: str | None = None


def look(webui: WebUIClient, task: Task, preview_id: int | None = None) -> Seen:
    """A look at the WebUI at what a running task has there; what Prefect knows of it where there is nothing.

    Args:
        preview_id: see webui.client.WebUIClient.task_progress.
    """
    if task.status is not Status.RUNNING or (job := sent_for(str(task.id), webui)) is None:
        return Seen(task.progress, task.eta)
    try:
        found = job.progress(preview_id)
    except WebUIError:
        found = None  # progress is advice
    if found is None:
        return Seen(task.progress, task.eta)
    own = min(found.done / max(1, found.jobs), FINISHED) if task.pictures <= 1 else 0.0
    return Seen(max(task.progress, own), task.eta, found.step, found.steps, found.preview, found.preview_id)


def find(prefect: SyncPrefectClient, task_id: str) -> Task:
    """The task of an id: a client's own, or the flow run's; the latest one.

    Raises:
        NotFound: there is none.
    """
    try:
        return queue.show(prefect, UUID(task_id))
    except ValueError:
        return queue.show(prefect, _latest(prefect, id_tag(task_id), task_id).id)


def current(prefect: SyncPrefectClient, client: str) -> Task | None:
    """The client's latest task, until it is answered: its run is still put away then."""
    try:
        task = queue.show(prefect, _latest(prefect, client_tag(client), client).id)
    except NotFound:
        return None
    return None if task.status in ENDED or answer_of(str(task.id)).is_file() else task


def _latest(prefect: SyncPrefectClient, tag: str, asked: str) -> Any:
    tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=[tag]))
    runs = prefect.read_flow_runs(flow_run_filter=tagged, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)
    if not runs:
        raise NotFound(f"no task is known by {asked!r}")
    return runs[0]


@router.get("/pending-tasks")
def pending_tasks(request: Request) -> dict[str, Any]:
    """The ids of what waits, in its order, the first 200; ``size``: how many wait."""
    prefect = request.app.state.prefect
    return {"size": count_waiting(prefect), "tasks": [str(run.id) for run in in_order(prefect, 0, MOST)]}


@router.post("/progress")
def progress(request: Request, ask: Ask) -> Progress:
    """The progress of a task, by its id; one that is not known has none of the three flags."""
    try:
        task = find(request.app.state.prefect, ask.id_task)
    except NotFound:
        return Progress(active=False, queued=False, completed=False, textinfo="Waiting...")
    if task.status in ENDED:
        return Progress(active=False, queued=False, completed=True, progress=1.0, textinfo=task.error)
    if task.status is not Status.RUNNING:
        return Progress(active=False, queued=True, completed=False, textinfo=f"In queue: {task.info or task.state}")
    seen = look(request.app.state.webui, task, ask.id_live_preview if ask.live_preview else None)
    shown = {"live_preview": seen.preview, "id_live_preview": seen.preview_id} if seen.preview else {}
    return Progress(active=True, queued=False, completed=False, progress=seen.fraction, eta=seen.eta, **shown)


@router.get("/restore/{task_id}")
async def restore(request: Request, task_id: str) -> Response:
    """The answer to a request that was queued here, also when its client or this server was gone meanwhile; waits
    until it is there. A task that was queued otherwise has no answer: its pictures are at /task-scheduler/queue/{id}.
    """
    task = await run_in_threadpool(find, request.app.state.prefect, task_id)
    if "raw" not in (task.params.get("job") or {}):
        raise HTTPException(409, f"{task_id} is no request of the WebUI's API: see /task-scheduler/queue/{task.id}")
    return await answer(request, task.id)
