"""A sweep is a batch of its cells, and ends in a grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from PIL import Image
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate
from pydantic import ValidationError

from flows.batch import BatchIncomplete
from flows.generate import generate
from flows.job import GenerationJob, read_job
from store.inputs import stored
from store.settings import PROJECT, settings
from tests.flows.test_publishing import Run, painted
from tests.requesting import arm
from webui.embedded.checkpoints import write_checkpoint
from webui.embedded.server import EmbeddedWebUI

FIELDS: dict[str, Any] = {
    "name": "swept",
    "checkpoint": "photo",
    "txt2img": {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "seed": 7, "sampler_name": "Euler"},
}


def job(sweep: Any, **more: Any) -> GenerationJob:
    return GenerationJob.model_validate(FIELDS | {"sweep": sweep} | more)


# -- the job -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sweep", "says"),
    [
        ({"stepz": [1, 2]}, r"cell {'stepz': '1'}: txt2img\.stepz: Extra inputs"),
        ({"steps": [5, 0]}, r"cell {'steps': '0'}: txt2img\.steps: .*greater than or equal to 1"),
        ({"images": [600, 601]}, "1201 pictures are too many for one sweep"),
        ({"seed": "1..501"}, "at most 500"),
    ],
)
def test_a_wrong_cell_fails_before_the_queue(sweep: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        job(sweep)


def test_a_sweep_survives_the_way_through_a_runs_parameters() -> None:
    one = job({"cfg_scale": [5, 7.5], "prompt": {"search": "boat", "values": ["ship"]}})
    assert GenerationJob.model_validate(json.loads(json.dumps(one.parameters()))) == one
    assert validate({"job": one.parameters()}, parameter_schema(generate.fn).model_dump(), raise_on_error=True) == []
    assert [cell.txt2img.cfg_scale for cell in one.cells() if cell.txt2img] == [5, 7.5]


def test_a_sweep_over_files_keeps_each_in_the_store(home: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        Image.new("RGB", (64, 64), "teal" if name == "one" else "red").save(tmp_path / f"{name}.png")
    fields = {"checkpoint": "photo", "init_images": ["one.png"], "img2img": {}, "sweep": {"init_images": ["*.png"]}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(fields))
    kept = read_job(tmp_path / "job.yaml")
    assert [stored(one).is_file() for one in kept.sweep[0].values] == [True, True]
    assert [cell.init_images for cell in kept.cells()] == [[one] for one in kept.sweep[0].values]


# -- the run -------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.usefixtures("prefect_server")


def same_pixels(one: str | Path, other: str | Path) -> bool:
    return Image.open(one).tobytes() == Image.open(other).tobytes()


def test_a_pattern_is_looked_for_beside_the_job_file_or_in_the_inputs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("home", "inputs"):
        monkeypatch.setattr(settings(), name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("inputs/faces/a.png", "inputs/faces/b.png")):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (number, 9, 9)).save(name)
    fields = {"checkpoint": "photo", "img2img": {"prompt": "x"}, "init_images": ["faces/a.png"]}
    fields["sweep"] = {"init_images": "faces/*.png"}
    Path("inputs/swept.yaml").write_text(yaml.safe_dump(fields))
    from_the_file = read_job(Path("inputs/swept.yaml"))
    from_a_run = GenerationJob.model_validate(fields).with_files_kept()
    assert from_the_file.sweep == from_a_run.sweep
    assert [stored(one).suffix for one in from_a_run.sweep[0].values] == [".png", ".png"]
    fields["sweep"] = {"init_images": "none/*.png"}
    with pytest.raises(ValueError, match=r"none/\*\.png: no such file"):
        GenerationJob.model_validate(fields).with_files_kept()


def test_each_checkpoint_is_loaded_once_and_each_cell_is_the_job_alone(server: EmbeddedWebUI, home: Path) -> None:
    write_checkpoint(server.engine.checkpoints.folder / "fifth.safetensors")
    requests.post(f"{server.url}/sdapi/v1/refresh-checkpoints", timeout=30).raise_for_status()
    scales, names = range(2, 10), ["oil", "photo", "ink", "watercolour", "fifth"]
    run = Run(generate, server.url, home / "gallery", job=job({"cfg_scale": [*scales], "checkpoint": names}))
    *cells, grid = run.attempt()
    asked = [body for _, path, _, body in server.requests if path.endswith("2img") and body]
    order = [body["override_settings"]["sd_model_checkpoint"] for body in asked]
    assert len([one for number, one in enumerate(order) if number == 0 or order[number - 1] != one]) == 5
    assert sorted(Path(one.path).stem for one in cells) == sorted(
        f"swept-7-txt2img-{cfg}-{name}" for cfg in scales for name in names
    )
    assert (grid.stage, Path(grid.path).stem) == ("grid", "swept-7-grid")
    assert len(json.loads(Path(grid.path).with_suffix(".json").read_text())["cells"]) == 40
    assert "swept-7-grid.png" in run.sheet()
    alone = job([], checkpoint="ink", txt2img=FIELDS["txt2img"] | {"cfg_scale": 9})
    [single] = Run(generate, server.url, home / "alone", job=alone).attempt()
    [cell] = [one for one in cells if one.path.endswith("-9-ink.png")]
    assert same_pixels(cell.path, single.path)


def test_a_failed_cell_stops_no_other_and_a_retry_paints_only_it(server: EmbeddedWebUI, home: Path) -> None:
    run = Run(generate, server.url, home / "gallery", job=job({"seed": "1..4"}))
    arm(server, kind="error", like="out of memory", path="/sdapi/v1/txt2img", contains='"seed": 2,')
    with pytest.raises(BatchIncomplete, match=r"1 of 4 jobs failed.*swept \(seed 2\): "):
        run.attempt()
    assert painted(server).count(2) == 1
    assert len(run.pictures) == 3, "no grid without the cell"
    server.requests.clear()
    assert [one.stage for one in run.attempt()] == ["txt2img"] * 4 + ["grid"]
    assert painted(server) == [2]
    assert len(run.pictures) == 5


def test_a_grid_for_each_z(server: EmbeddedWebUI, home: Path) -> None:
    run = Run(generate, server.url, home / "gallery", job=job({"steps": [1, 2], "cfg_scale": [5, 6], "seed": [8, 9]}))
    made = run.attempt()
    assert [(one.stage, one.note) for one in made[-2:]] == [("grid", "seed: 8"), ("grid", "seed: 9")]
    assert len(made) == 10


@pytest.mark.parametrize("name", ["sweep", "wildcards"])
def test_the_examples_run(name: str, server: EmbeddedWebUI, home: Path) -> None:
    one = read_job(PROJECT / "jobs" / f"{name}.yaml")
    assert one.txt2img
    one.txt2img.steps, one.txt2img.width, one.txt2img.height = 2, 64, 64
    made = Run(generate, server.url, home / "gallery", job=one).attempt()
    assert len(made) == (10 if name == "sweep" else 4)
