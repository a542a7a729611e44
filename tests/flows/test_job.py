"""A job says what is wrong with it before it is queued."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate
from pydantic import ValidationError

from flows.generate import generate
from flows.job import GenerationJob, read_job
from store.inputs import keep, stored
from store.settings import settings

GOOD: dict[str, Any] = {"checkpoint": "ink", "txt2img": {"prompt": "a lighthouse"}}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings(), "home", tmp_path / "home")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "given.png"
    Image.new("RGB", (64, 64), "teal").save(path)
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"txt2img": {"prompt": "x", "stepz": 3}}, "stepz"),
        ({"txt2img": {"prompt": "x", "width": 65}}, "multiple of 8"),
        ({"txt2img": {"prompt": "x", "width": 262144}}, "less than or equal to 2048"),
        ({"txt2img": {"prompt": "x", "steps": 0}}, "greater than or equal to 1"),
        ({"txt2img": {"prompt": "x", "seed": 2**32 - 1}, "images": 2}, "past the largest"),
        ({"txt2img": None}, "start from either"),
        ({"init_images": ["a.png"]}, "start from either"),
        ({"txt2img": None, "init_images": ["a.png"]}, "need a stage"),
        ({"images": 0}, "greater than or equal to 1"),
        ({"img2img": {"resize": 2, "width": 512, "height": 512}}, "either resize"),
        ({"img2img": {"width": 512}}, "both width and height"),
        ({"adetailer": [{"ad_prompt": "x"}]}, "ad_model"),
        ({"upscale": {"upscaler": "Lanczos", "factor": 99}}, "less than or equal to 8"),
        ({"txt2img": {"prompt": "x", "width": 2048}, "upscale": {"upscaler": "Lanczos", "factor": 8}}, "8192 pixels"),
        ({"checkpoint": ""}, "at least 1 character"),
    ],
)
def test_bad_values_fail_before_the_queue(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        GenerationJob.model_validate(GOOD | change)


def test_a_job_survives_the_way_through_a_runs_parameters() -> None:
    job = GenerationJob.model_validate(
        GOOD | {"img2img": {"denoising_strength": 0.3}, "adetailer": [{"ad_model": "face_yolov8n.pt"}]}
    )
    assert GenerationJob.model_validate(json.loads(json.dumps(job.parameters()))) == job


def test_a_yaml_file_keeps_its_pictures_in_the_store(tmp_path: Path, picture: Path) -> None:
    file = tmp_path / "castle.yaml"
    file.write_text("checkpoint: ink\ninit_images: [given.png]\nimg2img: {prompt: a castle, mask: given.png}\n")
    job = read_job(file)
    assert job.name == "castle"
    content = picture.read_bytes()
    picture.unlink()
    assert stored(job.init_images[0]).read_bytes() == content
    assert job.img2img.mask == job.init_images[0], "one content, one file"
    assert len(json.dumps(job.parameters())) < 500


def test_a_file_error_names_file_and_field(tmp_path: Path) -> None:
    file = tmp_path / "castle.yaml"
    file.write_text("checkpoint: ink\ntxt2img: {prompt: a castle, stepz: 9}\n")
    with pytest.raises(ValueError, match=r"castle\.yaml: txt2img\.stepz: Extra inputs"):
        read_job(file)
    file.write_text("- no job")
    with pytest.raises(ValueError, match="holds no job"):
        read_job(file)
    with pytest.raises(ValueError, match="No such file"):
        read_job(tmp_path / "none.yaml")


def test_the_store_takes_pictures_only(tmp_path: Path) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("not a picture")
    with pytest.raises(ValueError, match="no picture"):
        keep(str(secret), beside=tmp_path)
    with pytest.raises(ValueError, match="no such file"):
        keep("nowhere.png", beside=tmp_path)


@pytest.mark.parametrize("reference", ["/etc/passwd", "store:../../x.png", "store:nothere.png"])
def test_a_reference_cannot_leave_the_store(reference: str) -> None:
    with pytest.raises(ValueError, match=r"store|no such file in"):
        stored(reference)


@pytest.mark.parametrize("vae", ["v.pt", ["ae.safetensors", "clip_l.safetensors"], [], None])
def test_prefect_takes_a_vae_in_every_form(vae: Any) -> None:
    """It checks a run's parameters against the deployment's schema, those of timetables of 0.1.0 too."""
    schema = parameter_schema(generate.fn).model_dump()
    assert validate({"job": GOOD | {"vae": vae}}, schema, raise_on_error=True) == []


def test_every_form_field_has_a_title_help_and_an_order() -> None:
    schema = GenerationJob.model_json_schema()
    for form in [schema, *schema["$defs"].values()]:
        for name, field in form["properties"].items():
            assert field.get("title") and field.get("description"), name
            assert "position" in field, name
