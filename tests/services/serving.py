"""An ASGI application on a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.waiting import until


@contextmanager
def served(application: Any, **config: Any) -> Iterator[int]:
    """Its port on 127.0.0.1."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="critical", **config))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until("it has started", lambda: server.started or not thread.is_alive())
    assert thread.is_alive()
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(30)
