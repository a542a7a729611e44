"""One `darkroom up` for all end-to-end tests (tests/up.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.up import Up
from webui.embedded.server import EmbeddedWebUI


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with EmbeddedWebUI(faults=True) as webui:
        started = Up(tmp_path_factory.mktemp("home"), webui)
        try:
            started.begin()
            yield started
        finally:
            started.end()


@pytest.fixture
def darkroom(up: Up) -> Iterator[Up]:
    """A running Darkroom with nothing armed, nothing held, and counting from here."""
    requests.delete(f"{up.webui.url}/faults", timeout=10)
    up.webui.steps.release()
    up.webui.steps.step_time = 0.0
    up.forget()
    yield up
    requests.delete(f"{up.webui.url}/faults", timeout=10)
    up.webui.steps.release()
    up.webui.steps.step_time = 0.0
