"""The queue's own API: what queue extensions of WebUIs offer, over ``backlog``. Each route is one operation of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import StreamingResponse
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from pydantic import BaseModel, Field

from backlog import change, control, queue
from backlog.control import Pause
from backlog.queue import Overview
from backlog.task import ENDED, Status, Task
from gateway.clients import client_of
from gateway.jobs import queue_payload

router = APIRouter(prefix="/task-scheduler", tags=["queue"])
QUIET = 15.0  # seconds after which the stream of events sends a comment, so that nobody takes it for dead
WATCHED = ("prefect.flow-run.", "darkroom.")


class Listing(BaseModel):
    """A page of the queue: what runs and what waits in its order, or what has ended."""

    running: list[Task] = []
    pending: list[Task] = []
    history: list[Task] = []


class Changes(BaseModel):
    """What to change of a waiting task; the job's fields as in its form."""

    job: dict[str, Any] = {}
    priority: int | None = None


class Move(BaseModel):
    """Where to: to the top, to the bottom, or before the waiting task of this id."""

    to: Literal["top", "bottom"] | UUID


class Clear(BaseModel):
    """What to remove from the history."""

    statuses: list[Status] = list(ENDED)
    older_than_days: float = Field(0.0, ge=0, le=36_500)


def prefect(request: Request) -> SyncPrefectClient:
    client: SyncPrefectClient = request.app.state.prefect
    return client


@router.get("/queue")
def listing(
    request: Request,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
    status: Annotated[list[Status] | None, Query()] = None,
) -> Listing:
    """A page: what waits, or with ``status`` what has ended so, the latest first. For the sums see ``status``."""
    client = prefect(request)
    if status and set(status) <= set(ENDED):
        return Listing(history=queue.history(client, status, offset, limit))
    return Listing(running=queue.running(client), pending=queue.waiting(client, offset, limit))


@router.post("/queue", status_code=201)
def add(request: Request, job: Annotated[dict[str, Any], Body()], priority: int = 0) -> Task:
    """Queue a job: the fields of the job file."""
    return queue.add(prefect(request), job, priority=priority)


@router.post("/queue/{endpoint}", status_code=201)
def add_payload(
    request: Request,
    endpoint: Literal["txt2img", "img2img"],
    payload: Annotated[dict[str, Any], Body()],
    priority: int = 0,
    checkpoint: str = "",
) -> Task:
    """Queue the WebUI's own payload; ``checkpoint``: else the client's, else the one that the WebUI has selected."""
    chosen = {"sd_model_checkpoint": checkpoint} if checkpoint else {}
    return queue_payload(request, endpoint, payload, client=client_of(request), chosen=chosen, priority=priority)


@router.get("/queue/{task}")
def show(request: Request, task: UUID) -> Task:
    return queue.show(prefect(request), task)


@router.patch("/queue/{task}")
def edit(request: Request, task: UUID, changes: Changes) -> Task:
    client = prefect(request)
    if changes.job:
        change.edit(client, task, changes.job)
    if changes.priority is not None:
        change.set_priority(client, task, changes.priority)
    return queue.show(client, task)


@router.delete("/queue/{task}", status_code=204)
def delete(request: Request, task: UUID) -> None:
    change.delete(prefect(request), task)


@router.post("/queue/{task}/cancel")
def cancel(request: Request, task: UUID) -> Task:
    return change.cancel(prefect(request), task)


@router.post("/queue/{task}/retry")
def retry(request: Request, task: UUID) -> Task:
    return change.retry(prefect(request), task)


@router.post("/queue/{task}/duplicate", status_code=201)
def duplicate(request: Request, task: UUID, changes: Annotated[dict[str, Any] | None, Body()] = None) -> Task:
    return change.duplicate(prefect(request), task, changes)


@router.post("/queue/{task}/run")
def run(request: Request, task: UUID) -> Task:
    """Have it run next."""
    return change.move(prefect(request), task, "top")


@router.post("/queue/{task}/move")
def move(request: Request, task: UUID, where: Move) -> Task:
    return change.move(prefect(request), task, where.to)


@router.get("/status")
def status(request: Request) -> Overview:
    return queue.overview(prefect(request))


@router.post("/start")
def start(request: Request) -> Overview:
    """Lift the pause."""
    control.resume(prefect(request))
    return queue.overview(prefect(request))


@router.post("/pause")
def pause(request: Request) -> Overview:
    """Start nothing more; what is under way goes on to its end."""
    control.pause(prefect(request), Pause.AFTER_TASK)
    return queue.overview(prefect(request))


@router.post("/stop")
def stop(request: Request, after: Literal["picture", "now"] = "now") -> Overview:
    """Start nothing more, and have what is under way go back to its place after its picture, or at once."""
    control.pause(prefect(request), Pause.NOW if after == "now" else Pause.AFTER_PICTURE)
    return queue.overview(prefect(request))


@router.post("/retry")
def retry_failed(request: Request) -> dict[str, int]:
    """Retry all that failed or was stopped."""
    return {"retried": control.retry_failed(prefect(request))}


@router.post("/clear")
def clear(request: Request, what: Clear | None = None) -> dict[str, int]:
    """Remove what has ended from the history; pictures stay."""
    chosen = what or Clear()
    removed = control.clear(prefect(request), chosen.statuses, timedelta(days=chosen.older_than_days))
    return {"removed": removed}


@router.get("/events")
async def events() -> StreamingResponse:
    """Server-sent events, one for each change of a task's state and of the queue's order: nobody has to poll."""
    return StreamingResponse(_changes(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _changes() -> AsyncIterator[bytes]:
    async with get_events_subscriber(filter=EventFilter(event=EventNameFilter(prefix=list(WATCHED)))) as subscriber:
        yield b": listening\n\n"
        while True:
            waiting = asyncio.ensure_future(anext(subscriber))
            while not (await asyncio.wait([waiting], timeout=QUIET))[0]:
                yield b": quiet\n\n"
            try:
                event = waiting.result()
            except StopAsyncIteration:
                return
            task = event.resource.id.rpartition(".")[2]
            told = {"event": event.event, "task": task, "at": event.occurred.isoformat()}
            yield f"event: {event.event}\ndata: {json.dumps(told)}\n\n".encode()
