"""What went wrong, as the answers that a real WebUI gives."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import JSONResponse

from webui.embedded.asgi import App, Receive, Scope, Send

log = logging.getLogger(__name__)

PYDANTIC = "2.8"  # of the recorded Forge; each validation error links to its page


def _with_links(errors: Any) -> list[dict[str, Any]]:
    """Each of pydantic's errors with the link that the recorded version gives; what is no error of
    pydantic's (a body that is no JSON) has none."""
    return [
        {**error, "url": f"https://errors.pydantic.dev/{PYDANTIC}/v/{error['type']}"}
        if error["type"] != "json_invalid"
        else dict(error)
        for error in errors
    ]


async def answer_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": jsonable_encoder(_with_links(error.errors()))}, 422)


def _failure(error: Exception) -> dict[str, Any]:
    """Any exception of a job as the 500's body."""
    message = str(error)
    if isinstance(error, ResponseValidationError):
        errors = _with_links(error.errors())
        message = f"{len(errors)} validation errors:\n" + "".join(f"  {one}\n" for one in errors)
    return {
        "error": type(error).__name__,
        "detail": vars(error).get("detail", ""),
        "body": vars(error).get("body", ""),
        "message": message,
    }


class AnswerFailures:
    """ASGI middleware: what no handler took becomes a 500 that tells of it, and a line in the log."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            log.info("%s %s: %s: %s", scope.get("method"), scope.get("path"), type(error).__name__, error)
            answer = JSONResponse(jsonable_encoder(_failure(error)), 500)
            await answer(scope, receive, send)
