"""ASGI in the few pieces that more than one module needs: its types, a request's body, a connection's end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request, or what came of it before the client left."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read already, then what else comes."""
    first: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replayed() -> Message:
        nonlocal first
        if first is not None:
            message, first = first, None
            return message
        return await receive()

    return replayed


async def gone_within(receive: Receive, seconds: float) -> bool:
    """Wait; true, and at once, if the client leaves meanwhile. The body must have been read."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass  # an empty rest of the body
            return True
    except TimeoutError:
        return False


def with_transport(app: App) -> App:
    """The application with `scope["transport"]`, the connection's asyncio.Transport: ASGI has no message that ends a
    connection. Must be the outermost layer: uvicorn's `send` is a method of the object that owns the transport."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["transport"] = send.__self__.transport  # type: ignore[attr-defined]  # a bound method, see above
        await app(scope, receive, send)

    return wrapped
