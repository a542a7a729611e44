"""The application: the queue's API, the front door, the pictures and the page, on one address."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from prefect.client.orchestration import get_client
from starlette.datastructures import State

from backlog import task as tasks
from blocks.connection import WebUI
from gateway import front_door, pictures, progress, queue_api
from gateway.clients import Choices, NamedPaths
from gateway.page.mount import mount
from services.bodies import BoundedBodies
from services.environment import password, public_address
from services.origin import OwnPagesOnly, PasswordDemanded

WEBUI_EVERY = 5.0  # seconds between two looks at the block webui/default
LARGEST_BODY = 128 * 1024 * 1024  # bytes of a request: an init image and a mask of 4096 × 4096 in 16 bit, as base64
STATUS = {
    tasks.NotFound: 404,
    tasks.Running: 409,
    tasks.Finished: 409,
    tasks.NotFinished: 409,
    tasks.StartedMeanwhile: 409,
    tasks.OfTimetable: 409,
    tasks.InvalidJob: 422,
    tasks.Refused: 409,
}
ABOUT = "The queue of Stable Diffusion jobs, and the WebUI's API in front of it (each client's requests are queued)."

logger = logging.getLogger("darkroom.gateway")


def _said(content: Any, status: int) -> Response:
    """As JSON in ASCII: an error may repeat text that UTF-8 can't write."""
    return Response(json.dumps(content), status, media_type="application/json")


@asynccontextmanager
async def _open(app: FastAPI) -> AsyncIterator[None]:
    webui = await run_in_threadpool(WebUI.chosen, None)  # within the event loop Prefect would give a coroutine
    app.state.webui = webui.get_client()
    app.state.catalog = await run_in_threadpool(pictures.catalog)
    following = asyncio.create_task(_follow_webui(app.state, webui))
    with get_client(sync_client=True) as app.state.prefect:
        app.state.choices = Choices(app.state.prefect)
        yield
    following.cancel()


async def _follow_webui(state: State, known: WebUI) -> None:
    """Take up what a user changes in the block: another address, another password."""
    while True:
        await asyncio.sleep(WEBUI_EVERY)
        try:
            found = await run_in_threadpool(WebUI.chosen, None)
        except Exception as error:  # Prefect is away, or the block is wrong: what was right last stays
            logger.debug("the WebUI's block can't be read: %s", error)
            continue
        if found.model_dump() != known.model_dump():
            state.webui, known = found.get_client(), found


def create_app() -> FastAPI:
    """The application; Prefect's API and the WebUI are those of the environment and the block ``webui/default``."""
    # Without FastAPI's pages of the routes, which load their scripts from the network; /openapi.json lists them.
    app = FastAPI(title="Darkroom", description=ABOUT, lifespan=_open, docs_url=None, redoc_url=None)

    @app.exception_handler(tasks.QueueError)
    def refused(request: Request, error: tasks.QueueError) -> Response:
        status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 409)
        return _said({"error": type(error).__name__, "detail": str(error)}, status)

    @app.exception_handler(RequestValidationError)
    def wrong(request: Request, error: RequestValidationError) -> Response:
        """Without what was given, which may be long, or text that can't be written (half a surrogate pair)."""
        return _said({"detail": [{key: one[key] for key in ("loc", "msg", "type")} for one in error.errors()]}, 422)

    app.include_router(pictures.router)
    app.include_router(queue_api.router)
    app.include_router(progress.router)
    app.include_router(front_door.router)
    mount(app)  # last: the page answers every other path
    return app


def application() -> Any:
    """For ``uvicorn --factory``: for programs of this machine and its own pages, or who knows Prefect's password."""
    application = BoundedBodies(NamedPaths(create_app()), LARGEST_BODY)
    secret = password()
    return OwnPagesOnly(PasswordDemanded(application, secret) if secret else application, public_address())
