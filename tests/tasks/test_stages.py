"""What the stages make of their forms: settings handed on, requests, and nothing of `extra` overwritten."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from flows.job import GenerationJob
from gpu.request import Request
from store.picture import Picture
from tasks.stage import Item
from webui.models import Checkpoint

WORDS: dict[str, Any] = {"prompt": "a boat", "seed": 7, "styles": ["s"], "clip_skip": 2}
PASSES = [{"ad_model": "face_yolov8n.pt", "extra": {"ad_steps": 3}}]
PICTURE = Picture(path="p.png", sha256="abc", seed=11, index=1, stage="init", width=256, height=320)


def item_of(job: dict[str, Any], *, forge: bool = True) -> Item:
    made = GenerationJob.model_validate({"checkpoint": "oil", **job})
    checkpoints = {name: Checkpoint(title=f"{name}.safetensors", model_name=name) for name in ("oil", "ink")}
    return Item(made, made.steps(), checkpoints, forge, [PICTURE])


def requests_of(job: dict[str, Any], *, forge: bool = True) -> dict[str, list[Request]]:
    item = item_of(job, forge=forge)
    return {step.stage.name: step.stage.requests(step, item) for step in item.steps}


@pytest.mark.parametrize(
    ("job", "forge", "digests"),
    [
        (
            {
                "vae": "v.pt",
                "images": 3,
                "batch_size": 2,
                "txt2img": WORDS
                | {"enable_hr": True, "hr_scale": 1.5}
                | {"extra": {"tiling": True, "override_settings": {"eta_noise_seed_delta": 1}}},
                "img2img": {"checkpoint": "ink", "steps": 9, "resize": 1.5, "extra": {"resize_mode": 1}},
                "adetailer": PASSES,
                "upscale": {"upscaler": "Lanczos"},
            },
            True,
            {
                "txt2img": ["0925feaf57dcf416b2721790fe1c9b70", "e3a941d7a1da70380e66b098eddf1db6"],
                "img2img": ["34fa8cc2a6704267547d8c195162abb3"],
                "adetailer": ["f278856f390f9b3ddda4c55407f6f3c1"],
                "upscale": ["23c08eb78b13346bede22928eb658f29"],
            },
        ),
        (
            {"vae": "v.pt", "txt2img": WORDS, "adetailer": PASSES},
            False,
            {"txt2img": ["1dc5ea8735ef30bcc12662c225a031bd"], "adetailer": ["e10e2211831c4de43ebbf31b6d6813d6"]},
        ),
        (
            {
                "init_images": ["store:x.png"],
                "img2img": {"mask": "store:m.png", "seed": 5, "width": 512, "height": 640},
                "adetailer": PASSES,
            },
            True,
            {"img2img": ["42a6548d5f27dcd014c991a03dbe257d"], "adetailer": ["fbb498a6a16084e625a6c9acc6b13077"]},
        ),
    ],
    ids=["every stage", "AUTOMATIC1111", "from files"],
)
def test_a_run_that_failed_before_0_2_0_finds_its_pictures(
    job: dict[str, Any], forge: bool, digests: dict[str, list[str]]
) -> None:
    """The digests are those of 0.1.0: a retry finds results and files by them."""
    made = requests_of(job, forge=forge)
    assert {stage: [request.digest for request in requests] for stage, requests in made.items()} == digests


# -- what a person says wins ---------------------------------------------------------------------------------


def test_several_modules_are_sent_to_forge() -> None:
    modules = ["ae.safetensors", "clip_l.safetensors", "t5xxl_fp8.safetensors"]
    made = requests_of({"vae": modules, "txt2img": WORDS, "adetailer": PASSES})
    for [request] in made.values():
        assert request.payload["override_settings"]["forge_additional_modules"] == modules


@pytest.mark.parametrize(("given", "names"), [("v.pt", ["v.pt"]), (None, []), (["a", "b"], ["a", "b"])])
def test_a_single_vae_of_an_older_job_file_is_taken(given: Any, names: list[str]) -> None:
    job = GenerationJob.model_validate({"checkpoint": "oil", "txt2img": WORDS, "vae": given})
    assert job.vae == names


@pytest.mark.parametrize("key", ["forge_additional_modules", "sd_vae", "eta_noise_seed_delta"])
def test_an_overridden_setting_is_sent_as_given(key: str) -> None:
    given = {key: ["ae.safetensors"]}
    made = requests_of({"vae": "v.pt", "txt2img": WORDS | {"extra": {"override_settings": given}}, "img2img": {}})
    sent = made["txt2img"][0].payload["override_settings"]
    assert sent[key] == ["ae.safetensors"]
    assert sent["sd_model_checkpoint"] == "oil.safetensors"
    assert made["img2img"][0].payload["override_settings"]["forge_additional_modules"] == ["v.pt"], "its own stage only"


def test_a_script_of_a_stages_extra_is_sent_as_given() -> None:
    script = {"ADetailer": {"args": [{"ad_model": "hand_yolov8n.pt"}]}}
    made = requests_of({"txt2img": WORDS | {"extra": {"alwayson_scripts": script}}, "adetailer": PASSES})
    assert made["txt2img"][0].payload["alwayson_scripts"] == script


@pytest.mark.parametrize(
    ("stage", "extra", "says"),
    [
        ("txt2img", {"n_iter": 2}, "extra.n_iter can't be set: each picture is a request of its own"),
        ("txt2img", {"batch_size": 2}, "say `batch_size` in the job"),
        ("txt2img", {"send_images": False}, "the only way to get the pictures"),
        ("txt2img", {"force_task_id": "x"}, "progress and cancel"),
        ("txt2img", {"override_settings_restore_afterwards": True}, "load the checkpoint anew"),
        ("txt2img", {"seed": 3}, "extra.seed can't be set: it is a field of the form"),
        ("txt2img", {"override_settings": {"sd_model_checkpoint": "ink"}}, "say `checkpoint`"),
        ("txt2img", {"override_settings": {"CLIP_stop_at_last_layers": 2}}, "say `clip_skip`"),
        ("txt2img", {"override_settings": "ink"}, "has to be a mapping"),
        ("img2img", {"init_images": ["…"]}, "say `init_images` in the job"),
        ("img2img", {"mask": "…"}, "say `mask`"),
        ("upscale", {"upscaling_resize": 4}, "say `factor`"),
        ("upscale", {"image": "…"}, "say `init_images` in the job"),
    ],
)
def test_what_darkroom_sets_itself_is_refused_with_the_reason(stage: str, extra: dict[str, Any], says: str) -> None:
    forms: dict[str, Any] = {"txt2img": WORDS, "img2img": {}, "upscale": {"upscaler": "Lanczos"}}
    with pytest.raises(ValidationError, match=says):
        GenerationJob.model_validate({"checkpoint": "oil", **forms, stage: forms[stage] | {"extra": extra}})


def test_an_adetailer_passs_own_fields_are_not_set_twice() -> None:
    passes = [{"ad_model": "face_yolov8n.pt", "extra": {"ad_confidence": 0.9}}]
    with pytest.raises(ValidationError, match="say `ad_confidence`"):
        GenerationJob.model_validate({"checkpoint": "oil", "txt2img": WORDS, "adetailer": passes})


# -- what is handed on ---------------------------------------------------------------------------------------


def test_each_stage_hands_on_what_the_next_one_needs() -> None:
    job = {
        "txt2img": WORDS | {"width": 512, "height": 256, "steps": 20},
        "img2img": {"checkpoint": "ink", "prompt": "a ship", "resize": 1.5, "denoising_strength": 0.4},
        "adetailer": PASSES,
        "upscale": {"upscaler": "Lanczos", "factor": 2},
    }
    steps = item_of(job).steps
    assert [step.settings.checkpoint for step in steps] == ["oil", "ink", "ink", "ink"]
    assert [step.settings.sampling.prompt for step in steps] == ["a boat", "a ship", "a ship", "a ship"]
    assert [step.settings.size for step in steps] == [(512, 256), (768, 384), (768, 384), (1536, 768)]
    assert [step.stage.weight(step) for step in steps] == [20, 8, 20, 5]


def test_the_size_of_a_given_file_is_checked_by_the_stage_that_works_on_it() -> None:
    job = GenerationJob.model_validate({"checkpoint": "oil", "init_images": ["store:x.png"], "adetailer": PASSES})
    with pytest.raises(ValueError, match="ADetailer needs multiples of 8"):
        job.steps((500, 333))
    job = GenerationJob.model_validate(
        {"checkpoint": "oil", "init_images": ["store:x.png"], "upscale": {"upscaler": "Lanczos", "factor": 8}}
    )
    with pytest.raises(ValueError, match="8192 pixels"):
        job.steps((2000, 1000))
