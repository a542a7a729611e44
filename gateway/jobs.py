"""A client's request as a job of the queue, and the WebUI's answer to it when it is painted."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from backlog import queue
from backlog.task import Status, Task
from flows.handback import ask_to_hand_back
from store.settings import settings
from tasks.raw import answer_of, with_pictures_stored

INTERACTIVE = -10  # priority: somebody waits in front of it; batches and timetables have 0
LOOK_EVERY, ASK_EVERY = 0.02, 1.0  # seconds between two looks for the answer on disk, and two questions to Prefect


def client_tag(client: str) -> str:
    """The tag of a client's runs: Prefect's API filters by tags, not by labels."""
    return f"client:{client}"


def id_tag(task_id: str) -> str:
    """The tag of the run that a client knows by ``task_id``."""
    return f"task:{task_id[:100]}"


def queue_payload(
    request: Request,
    endpoint: str,
    payload: dict[str, Any],
    *,
    client: str,
    chosen: dict[str, Any],
    priority: int,
) -> Task:
    """Queue a WebUI's payload. Asked again with the same ``force_task_id`` and payload, it is the same task.

    Args:
        chosen: options to name in the request, beside those that the client posted before.

    Raises:
        InvalidJob: see backlog.queue.add.
    """
    task_id = str(payload.get("force_task_id") or "")
    overrides = {**request.app.state.choices.of(client), **chosen, **(payload.get("override_settings") or {})}
    asked = payload | ({"override_settings": overrides} if overrides else {})
    raw = {"endpoint": endpoint, "payload": with_pictures_stored(asked)}
    job: dict[str, Any] = {"name": _name(endpoint, payload), "raw": raw}
    if named := str(overrides.get("sd_model_checkpoint") or ""):
        job["checkpoint"] = named
    key = hashlib.sha256(f"{client} {json.dumps(asked, sort_keys=True)}".encode()).hexdigest() if task_id else None
    tags = [client_tag(client), *([id_tag(task_id)] if task_id else [])]
    return queue.add(request.app.state.prefect, job, priority=priority, tags=tags, idempotency_key=key)


def make_room(request: Request) -> None:
    """Have what is under way hand back after its picture, where it is not interactive itself."""
    if not settings().interactive_first:
        return
    for task in queue.running(request.app.state.prefect):
        if task.priority > INTERACTIVE:
            ask_to_hand_back(task.id, "a client of the WebUI's API waits for a picture")


def _name(endpoint: str, payload: dict[str, Any]) -> str:
    return " ".join(str(payload.get("prompt") or endpoint).split())[:60]


async def answer(request: Request, task: UUID) -> Response:
    """The WebUI's answer to a task, as it came; waits until it is there, or its task has ended without one."""
    path, client = answer_of(str(task)), request.app.state.prefect
    asked = 0.0
    while True:
        if path.is_file():
            return await asyncio.to_thread(_read, path)
        if (asked := asked - LOOK_EVERY) <= 0:
            asked = ASK_EVERY
            found = await asyncio.to_thread(queue.show, client, task)
            if found.status is Status.CANCELLED:
                return JSONResponse({"images": [], "parameters": {}, "info": json.dumps({"infotexts": []})})
            if found.status is Status.FAILED and not path.is_file():
                message = f"{found.error} (Darkroom: {found.link})"
                return JSONResponse({"error": "RuntimeError", "detail": "", "body": "", "errors": message}, 500)
        await asyncio.sleep(LOOK_EVERY)


def _read(path: Path) -> Response:
    status, _, body = path.read_bytes().partition(b"\n")
    return Response(body, int(status), media_type="application/json")
