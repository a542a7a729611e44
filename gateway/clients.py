"""Whose request it is, and what that client has chosen: two clients of one queue do not disturb each other."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Request
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

from backlog.task import InvalidJob

NAMED = re.compile(r"/as/(?P<name>[A-Za-z0-9_.-]{1,40})(?P<path>/.*)")
LONGEST = 4900  # characters of what a client has posted to /options; a Prefect variable holds 5,000

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class NamedPaths:
    """An ASGI application around another: ``/as/krita/sdapi/…`` is ``/sdapi/…``, asked by the client ``krita``."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (found := NAMED.fullmatch(scope["path"])):
            path = found["path"]
            scope = {**scope, "path": path, "raw_path": path.encode(), "darkroom.client": found["name"]}
        await self._app(scope, receive, send)


def client_of(request: Request) -> str:
    """A client's name: its basic-auth user, else the name in its path, else one made of its address and User-Agent."""
    kind, _, encoded = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            if user := base64.b64decode(encoded).decode().partition(":")[0]:
                return user[:40]
        except (binascii.Error, UnicodeDecodeError):
            pass
    if named := request.scope.get("darkroom.client"):
        return str(named)
    host = request.client.host if request.client else ""
    agent = request.headers.get("user-agent", "")
    told = re.sub("[^A-Za-z0-9.-]+", "-", agent)[:30] or "client"
    return f"{told}-{hashlib.sha256((host + agent).encode()).hexdigest()[:6]}"


class Choices:
    """The options that each client has posted, such as a checkpoint: they are named in its jobs, and change nothing for
    anybody else. Kept in a Prefect variable for each client."""

    def __init__(self, prefect: SyncPrefectClient) -> None:
        self._prefect = prefect

    def of(self, client: str) -> dict[str, Any]:
        found = self._prefect.read_variable_by_name(_variable(client))
        return dict(json.loads(str(found.value))) if found else {}

    def add(self, client: str, options: dict[str, Any]) -> None:
        """Lay these over what the client has posted before.

        Raises:
            InvalidJob: they are more than a variable of Prefect's holds.
        """
        before = self.of(client)
        value = json.dumps(before | options)
        if (length := len(json.dumps(value))) > LONGEST:  # Prefect counts it as it is written, quotes escaped
            raise InvalidJob(f"the options of {client} take {length:,} characters: at most {LONGEST:,} are remembered")
        name = _variable(client)
        if before:
            self._prefect.update_variable(VariableUpdate(name=name, value=value))
        elif options:
            self._prefect.create_variable(VariableCreate(name=name, value=value))


def _variable(client: str) -> str:
    return f"darkroom_client_{hashlib.sha256(client.encode()).hexdigest()[:12]}"
