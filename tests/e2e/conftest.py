"""One `darkroom up` for all end-to-end tests (tests/up.py)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, sync_playwright

from tests.up import Up
from webui.embedded.server import EmbeddedWebUI

ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((path for name in names if (path := shutil.which(name))), None)
    assert chromium, "the tests of the UI need Chromium: scripts/chromium.sh"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
        yield browser
        browser.close()
