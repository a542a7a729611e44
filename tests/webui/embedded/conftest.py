"""A real server on a real socket for each test module, and requests to it in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from talking import PATIENCE, Talk

from webui.embedded.server import EmbeddedWebUI


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
