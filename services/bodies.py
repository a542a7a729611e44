"""How much a server of ours takes in one request."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BoundedBodies:
    """An ASGI application around another: answers 413 to a request of more than ``most`` bytes, before or while it
    comes in; nothing of it is parsed."""

    def __init__(self, application: ASGIApp, most: int) -> None:
        self._application, self._most = application, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._application(scope, receive, send)
        refusal = HTTPException(413, f"a request of at most {self._most:,} bytes is taken")
        so_far = 0

        async def bounded() -> Message:
            nonlocal so_far
            message = await receive()
            so_far += len(message.get("body", b""))
            if so_far > self._most:
                raise refusal  # FastAPI answers it; elsewhere it arrives below
            return message

        try:
            # uvicorn refuses a length that is no number
            if int(Headers(scope=scope).get("content-length", "0")) > self._most:
                raise refusal
            await self._application(scope, bounded, send)
        except HTTPException as error:
            if error is not refusal:
                raise
            await JSONResponse({"detail": refusal.detail}, refusal.status_code)(scope, receive, send)
