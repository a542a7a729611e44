"""The Prefect server that ``darkroom up`` starts: Prefect's own behind three ASGI middlewares.

The first takes requests of programs and of the server's own pages only (services/origin.py), the second none that are
too large (services/bodies.py). The third is for writes:

- SQLite refuses a transaction that read before another one wrote. Prefect answers that with 503, and its client sleeps
  2 s, then 4 s, while the GPU waits. Here the request is repeated after milliseconds; its transaction was rolled back.
- Prefect stores values that it cannot write into an answer (half a surrogate pair, an integer of more than 64 bits).
  Each list with that run is a 500, the worker's polls among them, until somebody deletes it. They are answered 422.

Once the server has started, its objects are exempted from Python's garbage collector, which otherwise stops it for a
second each time it looks through all of them.
"""

from __future__ import annotations

import asyncio
import gc
import json

import orjson
from prefect.server.api.server import create_app
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.bodies import BoundedBodies
from services.environment import public_address
from services.origin import OwnPagesOnly

PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between the tries
LOCKED = 503  # Prefect's status for "database is locked"
LARGEST_BODY = 32 * 1024 * 1024  # bytes of a request; Prefect takes parameters of 512 KiB, log lines of 1 MiB at once
WRITES = ("POST", "PATCH", "PUT", "DELETE")
NOT_RETURNABLE = "Not stored: Prefect could not return it ({why}), and each list with it would fail. Take it out."


class WriteMiddleware:
    """An ASGI application around another: retries writes that are answered 503, refuses what could not be read back."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, _freeze_when_started(send))
            return
        if scope["type"] != "http" or scope["method"] not in WRITES:
            await self._application(scope, receive, send)
            return
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return
        if why := why_not_returnable(body):
            await JSONResponse({"detail": NOT_RETURNABLE.format(why=why)}, 422)(scope, receive, send)
            return
        for pause in PAUSES:
            answer = _UnlessLocked(send)
            try:
                # Routing writes into the scope, so each try has its own.
                await self._application(dict(scope), _replay(body, receive), answer)
            except Exception:
                if not answer.locked:
                    raise  # Prefect raises what it answered, for the server's log
            if not answer.locked:
                return
            await asyncio.sleep(pause)
        await self._application(scope, _replay(body, receive), send)


def why_not_returnable(body: bytes) -> str:
    """Why Prefect could read this JSON and not write it again, which it does with orjson; empty: it could."""
    try:
        orjson.dumps(json.loads(body))
    except orjson.JSONEncodeError as error:
        return str(error)
    except (ValueError, RecursionError):
        pass  # Prefect refuses it itself
    return ""


class _UnlessLocked:
    """Passes an answer on, unless it says that the database is locked."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.locked = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.locked = message["status"] == LOCKED
        if not self.locked:
            await self._send(message)


def _replay(body: bytes, receive: Receive) -> Receive:
    """``receive`` that gives the whole body first, then whatever comes after it."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return left.pop() if left else await receive()

    return received


def _freeze_when_started(send: Send) -> Send:
    """``send`` that exempts the objects there are from garbage collection once the application has started."""

    async def sent(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            gc.collect()
            gc.freeze()
        await send(message)

    return sent


def application() -> ASGIApp:
    """For ``uvicorn --factory``."""
    return OwnPagesOnly(BoundedBodies(WriteMiddleware(create_app(final=True)), LARGEST_BODY), public_address())
