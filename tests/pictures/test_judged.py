"""What the stages say of their pictures: notes, infotexts, and what may honestly do nothing."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, TaskRunFilter, TaskRunFilterFlowRunId
from pydantic import ValidationError

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.generate import generate
from flows.job import GenerationJob
from pictures.checks import check_loaded, is_flat, is_plain_resize
from store.inputs import keep
from store.picture import LARGEST_SIDE, Picture
from tests.pictures.lies import FACES, WORDS, Rig, changed
from tests.requesting import request_for
from tests.waiting import until
from webui import infotext
from webui.errors import WrongCheckpoint
from webui.models import ImageInfo


def text_of(picture: Picture) -> str:
    return infotext.read(Path(picture.path)) or ""


# -- ADetailer -----------------------------------------------------------------------------------------------

FULL = "a person\nNegative prompt: fog\nSteps: 20, Sampler: Euler, Seed: 5, Size: 256x256, Lora hashes: x"


def test_adetailer_over_a_bare_picture_tells_how_it_came_to_be(rig: Rig) -> None:
    words = WORDS | {"prompt": "a person", "negative_prompt": "fog", "steps": 4}
    (picture,) = rig.paint(rig.request({"txt2img": words, "adetailer": [FACES]}, rig.face()))
    parsed = infotext.parse(text_of(picture))
    assert (parsed.prompt, parsed.negative_prompt, picture.note) == ("a person", "fog", "")
    said = {name: parsed.settings[name] for name in ("Steps", "Sampler", "Size", "Seed", "Model", "ADetailer model")}
    assert said == {
        "Steps": "4",
        "Sampler": "Euler",
        "Size": "256x256",
        "Seed": "5",
        "Model": "photo",
        "ADetailer model": "mediapipe_face_full",
    }


def test_adetailer_twice_is_told_once(rig: Rig) -> None:
    picture = rig.face()
    picture = rig.picture(
        Image.open(picture.path), f"{FULL}, ADetailer model: hand_yolov8n.pt, ADetailer confidence: 1"
    )
    (picture,) = rig.paint(rig.request({"adetailer": [FACES]}, picture))
    text = text_of(picture)
    assert text.startswith(FULL.rpartition(", Lora")[0])
    assert text.count("ADetailer model: ") == text.count("ADetailer confidence: ") == text.count("Steps: ") == 1
    assert infotext.parse(text).settings["ADetailer model"] == "mediapipe_face_full"


def test_adetailer_that_found_nothing_is_not_in_the_infotext(rig: Rig) -> None:
    picture = rig.texture()
    picture = rig.picture(Image.open(picture.path), FULL)
    (picture,) = rig.paint(rig.request({"adetailer": [FACES]}, picture))
    assert (picture.note, text_of(picture)) == ("nothing found, picture unchanged", FULL)


def test_a_required_pass_that_acted_is_no_failure(rig: Rig) -> None:
    request = rig.request({"adetailer": [FACES | {"required": True}]}, rig.face())
    assert request.must_change
    assert "required" not in str(request.payload)
    assert rig.paint(request)[0].note == ""


def test_a_required_pass_stands_alone() -> None:
    passes = [FACES, FACES | {"required": True}]
    with pytest.raises(ValidationError, match="must be the only one"):
        GenerationJob.model_validate({"checkpoint": "photo", "txt2img": WORDS, "adetailer": passes})


# -- the model -----------------------------------------------------------------------------------------------

REFINED: dict[str, Any] = {"refiner_checkpoint": "oil"}
SECOND_PASS: dict[str, Any] = {"hr_checkpoint_name": "oil.safetensors"}
DETAILED: dict[str, Any] = {"alwayson_scripts": {"ADetailer": {"args": [True, True, {"ad_checkpoint": "oil"}]}}}


@pytest.mark.parametrize(
    ("loaded", "payload", "is_wrong"),
    [
        (["photo"], {}, False),
        (["oil"], {}, True),
        (["oil", "ink"], {}, True),
        (["photo", "oil"], {}, False),
        (["oil", "photo"], {}, False),
        ([], {}, False),
        (["of a file that is gone"], {}, False),
        (["oil"], REFINED, False),
        (["oil"], SECOND_PASS, False),
        (["oil"], DETAILED, False),
        (["ink"], REFINED | SECOND_PASS | DETAILED, True),
    ],
)
def test_what_was_loaded_tells_who_painted(
    rig: Rig, loaded: list[str], payload: dict[str, Any], is_wrong: bool
) -> None:
    for name in ("oil", "ink", "photo"):  # a WebUI lists no hash of what it never loaded
        rig.client.txt2img(WORDS | {"override_settings": {"sd_model_checkpoint": name}})
    hashes = {one.model_name: str(one.sha256) for one in rig.client.checkpoints()}
    request = changed(request_for(rig.server), payload)
    info = ImageInfo(sd_model_name="photo", sd_model_hash=hashes["photo"][:10])
    with pytest.raises(WrongCheckpoint, match=r"asked for photo.*but (oil|ink)") if is_wrong else nullcontext():
        check_loaded(request, info, [hashes.get(name, name) for name in loaded], rig.client)


def test_a_picture_of_another_model_is_painted_again(rig: Rig, home: Path) -> None:
    """Somebody selects another one while ours is loaded, and the run completes with ours all the same."""
    request = request_for(rig.server, seed=50)
    [honest] = rig.client.txt2img(request.payload).images
    rig.client.txt2img(request.payload | {"override_settings": {"sd_model_checkpoint": "ink"}})
    rig.select_during_a_load("photo*", "oil")
    job = {"name": "selected", "checkpoint": "photo", "txt2img": WORDS | {"seed": 50}}
    [made] = generate(
        GenerationJob.model_validate(job), WebUI(base_url=rig.server.url), Gallery(folder=str(home / "g"))
    )
    with Image.open(made.path) as image, Image.open(io.BytesIO(honest)) as wanted:
        assert image.tobytes() == wanted.tobytes()


# -- upscaling -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("upscaler", "size"), [("Lanczos", 512), ("Nearest", 512), ("None", 256)])
def test_an_upscaler_may_do_what_its_name_says(rig: Rig, upscaler: str, size: int) -> None:
    (picture,) = rig.paint(rig.request({"upscale": {"upscaler": upscaler}}, rig.texture()))
    assert (picture.width, picture.height) == (size, size)


def test_an_upscaled_bare_picture_tells_how_it_came_to_be(rig: Rig) -> None:
    upscale = {"upscaler": "R-ESRGAN 4x+", "factor": 1.5}
    (picture,) = rig.paint(rig.request({"upscale": upscale}, rig.texture()))
    said = {"Size": "256x256", "Postprocess upscale by": "1.5", "Postprocess upscaler": "R-ESRGAN 4x+"}
    assert infotext.parse(text_of(picture)) == infotext.Infotext("", "", said)
    (picture,) = rig.paint(rig.request({"upscale": upscale | {"factor": 2}}, picture))
    assert infotext.parse(text_of(picture)).settings == said | {"Postprocess upscale by": "2.0"}


def test_a_picture_of_one_colour_may_become_one(rig: Rig) -> None:
    (picture,) = rig.paint(rig.request({"upscale": {"upscaler": "Lanczos"}}, rig.picture(Image.new("RGB", (64, 64)))))
    assert picture.width == 128


@pytest.mark.parametrize("factor", [1.0, 1.1, 1.37, 1.5, 2.0, 8.0])
def test_a_plain_resize_is_known_at_any_factor(rig: Rig, factor: float) -> None:
    with Image.open(rig.face().path) as image:
        size = int(image.width * factor) // 8 * 8, int(image.height * factor) // 8 * 8
        plain = image.resize(size, Image.Resampling.LANCZOS)
    assert is_plain_resize(image, plain)
    plain.putpixel((0, 0), (1, 2, 3))
    assert not is_plain_resize(image, plain), "one pixel is enough"


def test_the_darkest_picture_is_not_one_of_a_single_colour() -> None:
    black = Image.new("RGB", (512, 512))
    assert is_flat(black)
    dark = Image.merge("RGB", [Image.effect_noise((512, 512), 2).point(lambda level: max(0, level - 125))] * 3)
    assert max(high for _, high in dark.getextrema()) < 20
    assert not is_flat(dark)


# -- bounds --------------------------------------------------------------------------------------------------


def test_a_given_file_is_bounded_before_it_is_decoded(tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    Image.new("1", (LARGEST_SIDE + 8, 8)).save(file)
    with pytest.raises(ValueError, match=r"8200 × 8 pixels are too many, at most 8192 a side"):
        keep(str(file), beside=tmp_path)


# -- skip ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["txt2img", "img2img"])
def test_a_skip_ends_one_picture_and_is_recorded_as_that(rig: Rig, home: Path, stage: str) -> None:
    job: dict[str, Any] = {"name": f"skip {stage}", "checkpoint": "photo", "images": 2}
    job |= {"txt2img": WORDS | {"steps": 8, "seed": 40}, "img2img": {"denoising_strength": 1}}

    def is_second() -> bool:
        sent = rig.server.requests.of("POST", f"/sdapi/v1/{stage}")
        return [body["seed"] for *_, body in sent if body and body["steps"] > 1] == [40, 41]

    def skip() -> None:
        until("the second one is sent", is_second)
        rig.meanwhile("/sdapi/v1/skip")

    threading.Thread(target=skip, daemon=True).start()
    rig.server.steps.step_time = 0.1
    made = generate(GenerationJob.model_validate(job), WebUI(base_url=rig.server.url), Gallery(folder=str(home / "g")))
    assert [one.seed for one in made] == [40]
    with get_client(sync_client=True) as client:
        [run] = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[job["name"]])))
        tasks = client.read_task_runs(task_run_filter=TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id])))
    assert run.state is not None and run.state.is_completed()
    assert [one.name for one in tasks if one.state_name == "Skipped"] == [f"{stage} 2/2 · seed 41"]
