"""A `darkroom up` for the matrix, which of its tests run, and where their results go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.night import report
from tests.night.rig import Night

Record = Callable[[str, str, dict[str, Any]], None]

# Left to --matrix all: what takes minutes.
ONLY_IN_ALL = (
    "an answer never comes",  # progress that stands still for less than a minute is no hang
    "test_the_webui_is_free_soon_after_each_of_many_cancels",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what --matrix does not ask for.

    One stage a fault: each fault another, so that all stages are met. What takes long is for "all".
    """
    which, stages = config.getoption("--matrix"), dict[str, list[pytest.Item]]()
    if which == "all":
        return
    for item in items:
        if item.get_closest_marker("matrix") is not None:
            assert isinstance(item, pytest.Function)
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            stages.setdefault(str(parameters.get("fault", item.originalname)), []).append(item)
    left_out = [item for of_one in stages.values() for item in of_one]
    if which == "one":
        for number, (fault, of_one) in enumerate(stages.items()):
            if fault not in ONLY_IN_ALL:
                left_out.remove(of_one[number % len(of_one)])
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def record(request: pytest.FixtureRequest, night: Night) -> Iterator[Record]:
    """Keep a row of the matrix: fault, stage, what came of it. Written down after the test, if asked for."""
    rows: dict[str, dict[str, Any]] = {}

    def keep(fault: str, stage: str, row: dict[str, Any]) -> None:
        rows.setdefault(fault, {})[stage] = row

    yield keep
    if not night.alive:
        for row in (row for stages in rows.values() for row in stages.values()):
            row["ended"] = "darkroom up ended"
    if request.config.getoption("--record"):
        report.add_matrix(rows)


class Holder:
    """The `darkroom up` of the session; another one in a fresh home once a test has failed at it."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._night: Night | None = None
        self.in_order = False

    def get(self) -> Night:
        if self._night is not None and (not self.in_order or not self._night.alive):
            self.end()
        if self._night is None:
            self._night = Night.at_home(self._factory.mktemp("night"))
            self._night.begin()
        self.in_order = False
        return self._night

    def end(self) -> None:
        """Stop all of it, with whatever it left."""
        night, self._night = self._night, None
        if night is not None:
            night.close()


@pytest.fixture(scope="session")
def holder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holder]:
    holder = Holder(tmp_path_factory)
    try:
        yield holder
    finally:
        holder.end()


@pytest.fixture
def night(holder: Holder) -> Iterator[Night]:
    """A `darkroom up` with nothing armed and the checkpoint photo loaded."""
    night = holder.get()
    night.webui.steps.step_time = 0.0
    small = {"prompt": "x", "steps": 1, "width": 64, "height": 64}
    before = night.settled(night.start({"name": "before", "checkpoint": "photo", "txt2img": small}))
    assert before["state_type"] == "COMPLETED", before["state"]["message"]
    yield night
    assert night.webui.faults
    night.webui.faults.disarm()
    night.webui.steps.release()
