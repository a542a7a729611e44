"""Of a file of many jobs the next few each night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.batch import BatchIncomplete, batch
from store.settings import settings
from tests.flows.test_publishing import Run, painted
from tests.requesting import arm
from webui.embedded.server import EmbeddedWebUI

pytestmark = pytest.mark.usefixtures("prefect_server")
DEFAULTS = "{checkpoint: photo, txt2img: {steps: 2, width: 64, height: 64, sampler_name: Euler}}"


def night(server: EmbeddedWebUI, home: Path, file: Path, **more: Any) -> Run:
    return Run(
        batch, server.url, home / "gallery", **{"name": file.parent.name, "file": str(file), "next_jobs": 2} | more
    )


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings(), "inputs", tmp_path)
    path = tmp_path / "night.yaml"
    jobs = "".join(f"- {{txt2img: {{prompt: p, seed: {number}}}}}\n" for number in range(1, 6))
    path.write_text(f"defaults: {DEFAULTS}\njobs:\n{jobs}")
    return path


def test_each_night_paints_the_next_ones_and_begins_again(server: EmbeddedWebUI, home: Path, file: Path) -> None:
    for seeds in ([1, 2], [3, 4], [5], [1, 2]):
        server.requests.clear()
        assert [one.seed for one in night(server, home, file).attempt()] == seeds
        assert painted(server) == seeds
    assert [one.seed for one in night(server, home, file, name="another").attempt()] == [1, 2]


def test_a_retry_is_no_further_night(server: EmbeddedWebUI, home: Path, file: Path) -> None:
    run = night(server, home, file)
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/txt2img", contains='"seed": 2,')
    with pytest.raises(BatchIncomplete):
        run.attempt()
    server.requests.clear()
    assert [one.seed for one in run.attempt()] == [1, 2]
    assert painted(server) == [2]
    assert [one.seed for one in night(server, home, file).attempt()] == [3, 4]


def test_a_retry_knows_its_jobs_whatever_became_of_their_file(server: EmbeddedWebUI, home: Path, file: Path) -> None:
    run = night(server, home, file, next_jobs=None)
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/txt2img", contains='"seed": 2,')
    with pytest.raises(BatchIncomplete):
        run.attempt()
    file.unlink()
    server.requests.clear()
    assert [one.seed for one in run.attempt()] == [1, 2, 3, 4, 5]
    assert painted(server) == [2]
