"""The Prefect server that ``darkroom up`` starts: Prefect's own, without two things that make a GPU wait.

SQLite refuses a transaction that read before another one wrote. Prefect answers that with 503, and its client sleeps
2 s before it asks again, then 4 s, while the GPU waits. Here such a request is given to the server again after
milliseconds; the transaction was rolled back, so it is the same as if the client had sent it twice. A request that is
refused to the end is answered as before.

And Python's collector of garbage stops the server for 0.4 s whenever it looks through all that was ever imported. What
is there when the server is ready will not go away, so the collector need not look at it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prefect.server.api.server import create_app

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between the tries
REFUSED = 503
WRITES = ("POST", "PATCH", "PUT", "DELETE")


class TriesAgain:
    """An ASGI application around another: what that refuses with 503 is given to it again."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, _freezing(send))
            return
        if scope["type"] != "http" or scope["method"] not in WRITES:
            await self._application(scope, receive, send)
            return
        request = await _whole(receive)
        for pause in PAUSES:
            answer = _Answer(send)
            try:
                # Routing writes into the scope, so each try has its own.
                await self._application(dict(scope), _again(request, receive), answer)
            except Exception:
                if not answer.refused:
                    raise  # Prefect raises what it answered, for the server's log
            if not answer.refused:
                return
            await asyncio.sleep(pause)
        await self._application(scope, _again(request, receive), send)


class _Answer:
    """Passes an answer on, unless it is a refusal."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.refused = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.refused = message["status"] == REFUSED
        if not self.refused:
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


def _again(request: Message, receive: Receive) -> Receive:
    """``receive`` from the begin: the request, then whatever comes after it."""
    left = [request]

    async def received() -> Message:
        return left.pop() if left else await receive()

    return received


def _freezing(send: Send) -> Send:
    """``send`` that takes what is there when the server is ready out of the collector's sight."""

    async def sent(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            gc.collect()
            gc.freeze()
        await send(message)

    return sent


def application() -> TriesAgain:
    """For ``uvicorn --factory``."""
    return TriesAgain(create_app(final=True))
