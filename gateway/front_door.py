"""The WebUI's API in front of the queue: a client of the WebUI gets the queue by changing one address.

A request for pictures becomes a task of the queue, and its answer is the one that the WebUI gave. Lists come from the
WebUI as they are. What a client selects by ``POST /options`` is named in its own jobs and switches nothing for others;
progress and interrupt mean that client's own job. The task stays when its client goes away.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

import requests
from fastapi import APIRouter, Body, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from backlog import change
from backlog.task import QueueError, Status, Task
from gateway.clients import client_of
from gateway.jobs import INTERACTIVE, answer, make_room, queue_payload
from gateway.progress import current, look
from webui.client import WebUIClient
from webui.errors import WebUIError

router = APIRouter(tags=["front door"])
FORBIDDEN = {
    "server-kill": "it would end the WebUI under everybody's jobs",
    "server-restart": "it would end the WebUI under everybody's jobs",
    "server-stop": "it would end the WebUI under everybody's jobs",
    "unload-checkpoint": "the next job, maybe somebody else's, would have to load it again",
    "reload-checkpoint": "each job names its checkpoint, and has it loaded when its turn comes",
    "create/embedding": "it would train beside the queue",
    "create/hypernetwork": "it would train beside the queue",
    "train/embedding": "it would train beside the queue",
    "train/hypernetwork": "it would train beside the queue",
}
POSTS = {"png-info", "interrogate", "refresh-checkpoints", "refresh-loras", "refresh-vae", "refresh-embeddings"}
LIST_WITHIN = 60.0  # seconds for an answer that is passed on


@router.post("/sdapi/v1/{endpoint}")
async def post(request: Request, endpoint: str, body: Annotated[Any, Body()] = None) -> Response:
    """A request for pictures, queued; or another of the routes that a client may post to."""
    client, payload = client_of(request), body if isinstance(body, dict) else {}
    if endpoint in ("txt2img", "img2img", "extra-single-image"):
        task = await run_in_threadpool(
            queue_payload, request, endpoint, payload, client=client, chosen={}, priority=INTERACTIVE
        )
        if task.status is Status.PENDING:
            await run_in_threadpool(make_room, request)
        return await answer(request, task.id)
    if endpoint == "options":
        await run_in_threadpool(request.app.state.choices.add, client, payload)
        return Response("null", media_type="application/json")
    if endpoint in ("interrupt", "skip"):
        await run_in_threadpool(_cancel_current, request, client)
        return Response("{}", media_type="application/json")
    _refuse(endpoint)
    if endpoint in POSTS:
        return _as_it_came(await run_in_threadpool(_ask, request, f"sdapi/v1/{endpoint}", body))
    raise HTTPException(404, f"{endpoint} is not one of the routes that are passed on to the WebUI")


@router.post("/sdapi/v1/{first}/{second}")
async def post_two(first: str, second: str) -> Response:
    _refuse(f"{first}/{second}")
    raise HTTPException(404, "Not Found")


@router.get("/sdapi/v1/options")
def options(request: Request) -> Response:
    """The WebUI's options, with what this client has selected in their place."""
    found = _ask(request, "sdapi/v1/options")
    if found.status_code != 200:
        return _as_it_came(found)
    return JSONResponse(found.json() | request.app.state.choices.of(client_of(request)))


@router.get("/sdapi/v1/progress")
def progress(request: Request, skip_current_image: bool = False) -> dict[str, Any]:
    """The progress of this client's own job, in the WebUI's form; idle where it has none."""
    task = current(request.app.state.prefect, client_of(request))
    state: dict[str, Any] = {"skipped": False, "interrupted": False, "stopping_generation": False, "job": ""}
    state |= {"job_count": 0, "job_timestamp": "0", "job_no": 0, "sampling_step": 0, "sampling_steps": 0}
    idle = {"progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": None, "textinfo": None}
    if task is None:
        return idle
    seen = look(request.app.state.webui, task, None if skip_current_image else -1)
    state |= {"job": str(task.id), "job_count": 1, "job_timestamp": _stamp(task)}
    state |= {"sampling_step": seen.step or 0, "sampling_steps": seen.steps or 0}
    text = None if task.status is Status.RUNNING else f"Waiting in the queue: {task.info or task.state}"
    return idle | {
        "progress": seen.fraction,
        "eta_relative": seen.eta or 0.0,
        "current_image": (seen.preview or "").partition(",")[2] or None,
        "textinfo": text,
    }


def _stamp(task: Task) -> str:
    began = task.started or task.created
    return began.strftime("%Y%m%d%H%M%S") if began else "0"


@router.get("/sdapi/v1/{path:path}")
@router.get("/adetailer/v1/{path:path}")
@router.get("/controlnet/{path:path}")
def read(request: Request, path: str) -> Response:
    """What the WebUI has: lists, options, schemas; as it answers."""
    _refuse(path)
    return _as_it_came(_ask(request, request.url.path.removeprefix("/")))


def _refuse(endpoint: str) -> None:
    if endpoint in FORBIDDEN:
        raise HTTPException(403, f"{endpoint} is not passed on: {FORBIDDEN[endpoint]}")


def _cancel_current(request: Request, client: str) -> None:
    task = current(request.app.state.prefect, client)
    if task is not None:
        with suppress(QueueError):  # it has ended meanwhile
            change.cancel(request.app.state.prefect, task.id)


def _ask(request: Request, path: str, body: Any = None) -> requests.Response:
    webui: WebUIClient = request.app.state.webui
    query = request.query_params.multi_items()
    try:
        return webui.ask(request.method, f"/{path}", params=query, json=body, timeout=LIST_WITHIN)
    except WebUIError as error:
        raise HTTPException(502, str(error)) from None


def _as_it_came(answered: requests.Response) -> Response:
    kind = answered.headers.get("content-type", "application/json")
    return Response(answered.content, answered.status_code, media_type=kind)
