"""Pages in Chromium, on the gateway of tests/gateway/conftest.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import browser  # noqa: F401  a fixture
from tests.gateway.conftest import Gateway

PATIENCE = 20_000  # milliseconds; two shared cores

Open = Callable[[str], Page]


@pytest.fixture
def open_page(browser: Browser, gateway: Gateway) -> Iterator[Open]:  # noqa: F811  the fixture above
    """Opens screens; a request to another address than the gateway's fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))

    def go(path: str) -> Page:
        page = context.new_page()
        page.goto(gateway.url + path)
        return page

    yield go
    context.close()
    assert not [url for url in asked if not url.startswith((gateway.url, "data:", "blob:"))]
