"""A real server on a real socket for each test module, and requests to it in the background."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from webui.embedded.server import EmbeddedWebUI

PATIENCE = 60.0  # seconds: the machine may be busy with other tests
SMALL = {"prompt": "a cat", "steps": 4, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}


class Talk:
    """Requests to one server."""

    def __init__(self, server: EmbeddedWebUI, pool: ThreadPoolExecutor) -> None:
        self.server = server
        self._pool = pool

    def get(self, path: str, **options: Any) -> Any:
        return requests.get(self.server.url + path, timeout=PATIENCE, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return requests.post(self.server.url + path, json=body, timeout=PATIENCE, **options)

    def generate(self, kind: str = "txt2img", **changes: Any) -> requests.Response:
        return self.post(f"/sdapi/v1/{kind}", {**SMALL, **changes})

    def info(self, kind: str = "txt2img", **changes: Any) -> dict[str, Any]:
        answer = self.generate(kind, **changes)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.json()["info"])

    def in_background(self, kind: str = "txt2img", **changes: Any) -> Future[requests.Response]:
        return self._pool.submit(self.generate, kind, **changes)

    def progress(self) -> dict[str, Any]:
        return self.get("/sdapi/v1/progress?skip_current_image=true").json()

    def task(self, id_task: str, **more: Any) -> dict[str, Any]:
        return self.post("/internal/progress", {"id_task": id_task, **more}).json()


@pytest.fixture(scope="session")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as threads:
        yield threads


@pytest.fixture(scope="module")
def shared_server() -> Iterator[EmbeddedWebUI]:
    with EmbeddedWebUI() as running:
        yield running


@pytest.fixture
def webui(shared_server: EmbeddedWebUI, pool: ThreadPoolExecutor) -> Iterator[Talk]:
    """A server that is idle and goes at full speed, shared by the tests of a module."""
    yield Talk(shared_server, pool)
    shared_server.steps.release()
    assert shared_server.wait_until_idle(PATIENCE)


@pytest.fixture
def start(pool: ThreadPoolExecutor, tmp_path: Path) -> Iterator[Callable[..., Talk]]:
    """Start servers of one's own."""
    running: list[EmbeddedWebUI] = []

    def started(**options: Any) -> Talk:
        server = EmbeddedWebUI(**{"folder": tmp_path / f"webui{len(running)}", **options}).start()
        running.append(server)
        return Talk(server, pool)

    yield started
    for server in running:
        server.stop()
