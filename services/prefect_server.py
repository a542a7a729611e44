"""The Prefect server that ``darkroom up`` starts: Prefect's own behind an ASGI middleware for requests that write.

SQLite refuses a transaction that read before another one wrote. Prefect answers that with 503, and its client sleeps
2 s before it asks again, then 4 s, while the GPU waits. The middleware gives such a request to the server again after
milliseconds; the transaction was rolled back, so it is the same as if the client had sent it twice.

Prefect stores values that it cannot write into an answer (half a surrogate pair, an integer of more than 64 bits): it
then answers each request that lists the run with 500, the worker's polls among them, until somebody deletes the run.
The middleware refuses them with 422.

When the server has started, its objects are exempted from Python's garbage collector, which otherwise stops the server
for 0.4 s each time it looks through all of them.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from fastapi.responses import JSONResponse
from prefect.server.api.server import create_app

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between the tries
LOCKED = 503  # Prefect's status for "database is locked"
WRITES = ("POST", "PATCH", "PUT", "DELETE")
NOT_RETURNABLE = (
    "Not stored: Prefect could not return it ({why}), and each list with it would fail. Take that value out of the "
    "request and send it again."
)


class WriteMiddleware:
    """An ASGI application around another: retries writes that are answered 503, refuses what could not be read back."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, _freeze_when_started(send))
            return
        if scope["type"] != "http" or scope["method"] not in WRITES:
            await self._application(scope, receive, send)
            return
        request = await _whole(receive)
        if why := why_not_returnable(request.get("body", b"")):
            refusal = JSONResponse({"detail": NOT_RETURNABLE.format(why=why)}, 422)
            await refusal(scope, receive, send)
            return
        for pause in PAUSES:
            answer = _UnlessLocked(send)
            try:
                # Routing writes into the scope, so each try has its own.
                await self._application(dict(scope), _replay(request, receive), answer)
            except Exception:
                if not answer.locked:
                    raise  # Prefect raises what it answered, for the server's log
            if not answer.locked:
                return
            await asyncio.sleep(pause)
        await self._application(scope, _replay(request, receive), send)


def why_not_returnable(body: bytes) -> str:
    """Why Prefect could read this JSON and not write it again, which it does with orjson; empty: it could."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return ""  # Prefect refuses it itself
    try:
        orjson.dumps(content)
    except orjson.JSONEncodeError as error:
        return str(error)
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


async def _whole(receive: Receive) -> Message:
    """The request's body in one message; or that its client has gone."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return {"type": "http.request", "body": body, "more_body": False}


def _replay(request: Message, receive: Receive) -> Receive:
    """``receive`` that gives the request first, then whatever comes after it."""
    left = [request]

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


def application() -> WriteMiddleware:
    """For ``uvicorn --factory``."""
    return WriteMiddleware(create_app(final=True))
