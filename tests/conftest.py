"""What tests of several rooms share: one Prefect server for all that need a run around them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from store.settings import settings
from tests.requesting import PATIENCE
from tests.servers import Prefect, prefect_on
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI


def pytest_addoption(parser: pytest.Parser) -> None:
    """Of tests/night; pytest reads options only from here."""
    parser.addoption("--record", action="store_true", help="write the matrix's results into docs/night.md")
    parser.addoption(
        "--matrix", choices=["none", "one", "all"], default="none", help="of each fault: no stage, one stage, or all"
    )


# Session fixtures that take long to start, the one whose tests take longest first: they begin the run.
HEAVY = ("own_server", "up", "prefect_server")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is long, unless --matrix asks for more. For `pytest -n 2 --dist loadfile`: the files whose tests
    take longest come first, so that none is left alone at the end."""
    if config.getoption("--matrix") == "none":
        long = [item for item in items if item.get_closest_marker("long") is not None]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    needed: dict[str, set[str]] = {}
    for item in items:
        needed.setdefault(_file(item), set()).update(getattr(item, "fixturenames", ()))
    order = {
        file: next((number for number, one in enumerate(HEAVY) if one in names), len(HEAVY))
        for file, names in needed.items()
    }
    items.sort(key=lambda item: order[_file(item)])


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


@pytest.fixture(autouse=True, scope="module")
def _events() -> Iterator[None]:
    """End Prefect's sender of events: it is one for the process and keeps to the server of its first event, and the
    next module may use another server. What a run does is written down by events."""
    yield
    EventsWorker.drain_all(timeout=10, at_exit=False)


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


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    with prefect_on(tmp_path_factory.mktemp("darkroom")) as prefect:
        yield prefect


@pytest.fixture(scope="session")
def painter() -> Iterator[EmbeddedWebUI]:
    with EmbeddedWebUI(port=0, faults=True) as webui:
        yield webui


@pytest.fixture(scope="session")
def deployed(own_server: Prefect, painter: EmbeddedWebUI) -> Prefect:
    """The server after a `darkroom deploy`."""
    done = own_server.darkroom("deploy", "--webui", painter.url)
    assert done.returncode == 0, done.stdout + done.stderr
    return own_server


@pytest.fixture
def held(painter: EmbeddedWebUI) -> Iterator[EmbeddedWebUI]:
    """A WebUI whose steps take long, until the test is over."""
    painter.steps.step_time = 0.5
    yield painter
    painter.steps.step_time = 0.0
    assert painter.wait_until_idle(30)
