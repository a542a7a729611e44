"""A queue of our own to work on: no worker, and empty before each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from backlog import estimate
from store.settings import settings
from tests.servers import Prefect


@pytest.fixture
def client(deployed: Prefect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncPrefectClient]:
    monkeypatch.setattr(settings(), "home", deployed.home)
    monkeypatch.setattr(settings(), "gallery", deployed.home / "gallery")
    monkeypatch.setattr(settings(), "inputs", tmp_path)
    with temporary_settings({PREFECT_API_URL: deployed.api}), get_client(sync_client=True) as client:
        estimate.KEPT.clear()
        while runs := client.read_flow_runs():
            for run in runs:
                client.delete_flow_run(run.id)
        yield client


def job(name: str = "moon", **changes: Any) -> dict[str, Any]:
    stage = {"prompt": f"a {name}", "steps": 4, "width": 64, "height": 64, "seed": 7}
    return {"name": name, "checkpoint": "photo", "txt2img": stage} | changes


Force = Callable[..., None]


@pytest.fixture
def force(deployed: Prefect) -> Force:
    """Set a run's state as the run itself or a crash would."""

    def set_state(run: object, kind: str, **state: Any) -> None:
        deployed.call("POST", f"/flow_runs/{run}/set_state", {"state": {"type": kind, **state}, "force": True})

    return set_state
