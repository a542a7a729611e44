"""What tests of several rooms share: one Prefect server for all that need a run around them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from blocks.settings import settings


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server of our own. The harness keeps its database apart, but not the results."""
    results = tmp_path_factory.mktemp("results")
    before = os.environ.pop("PREFECT_API_URL", None)
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: results}), prefect_test_harness(server_startup_timeout=120):
        yield
    if before is not None:
        os.environ["PREFECT_API_URL"] = before


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The project's own state, in a folder of the test."""
    monkeypatch.setattr(settings(), "home", tmp_path / "home")
    monkeypatch.setattr(settings(), "gallery", tmp_path / "gallery")
    return tmp_path / "home"
