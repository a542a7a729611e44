"""A WebUI for each test module, idle and disarmed between two tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helping import PATIENCE

from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedWebUI]:
    with EmbeddedWebUI(folder=tmp_path_factory.mktemp("webui"), faults=True) as running:
        WebUIClient(running.url).txt2img({"prompt": "", "steps": 1, "width": 64, "height": 64})  # loads and imports
        yield running


@pytest.fixture
def server(_running: EmbeddedWebUI, home: Path) -> Iterator[EmbeddedWebUI]:
    _running.requests.clear()
    yield _running
    assert _running.faults
    _running.faults.disarm()
    _running.steps.step_time = 0.0
    _running.steps.release()
    assert _running.wait_until_idle(PATIENCE)


@pytest.fixture
def client(server: EmbeddedWebUI) -> WebUIClient:
    return WebUIClient(server.url)
