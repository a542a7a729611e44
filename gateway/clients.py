"""Whose request it is, and what that client has chosen: two clients of one queue do not disturb each other."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Request
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

NAMED = re.compile(r"/as/(?P<name>[A-Za-z0-9_.-]{1,40})(?P<path>/.*)")
CHOSEN = "darkroom_front_door"  # Prefect variable: what each client has posted to /options
MOST_CLIENTS = 200  # whose choices are remembered, the latest

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
    anybody else. Kept in a Prefect variable."""

    def __init__(self, prefect: SyncPrefectClient) -> None:
        self._prefect, self._lock = prefect, threading.Lock()

    def of(self, client: str) -> dict[str, Any]:
        return dict(self._read().get(client, {}))

    def add(self, client: str, options: dict[str, Any]) -> None:
        with self._lock:
            every = self._read()
            every[client] = {**every.pop(client, {}), **options}  # the latest last
            kept = dict(list(every.items())[-MOST_CLIENTS:])
            if self._prefect.read_variable_by_name(CHOSEN) is None:
                self._prefect.create_variable(VariableCreate(name=CHOSEN, value=json.dumps(kept)))
            else:
                self._prefect.update_variable(VariableUpdate(name=CHOSEN, value=json.dumps(kept)))

    def _read(self) -> dict[str, dict[str, Any]]:
        found = self._prefect.read_variable_by_name(CHOSEN)
        try:
            content = json.loads(str(found.value)) if found else {}
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}
