"""Every wrong name is found before the GPU is taken, with what comes near it; nothing is painted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from prefect import flow

from blocks.gallery import Gallery
from flows.job import GenerationJob
from store.inputs import keep
from tasks.inventory import KINDS, Inventory, near
from tasks.preflight import preflight
from tasks.stage import Item, Step
from tests.requesting import arm
from webui.client import WebUIClient
from webui.embedded.checkpoints import write_checkpoint
from webui.embedded.server import EmbeddedWebUI

HIRES = {"prompt": "a boat", "enable_hr": True}


@pytest.fixture
def inventory(server: EmbeddedWebUI, client: WebUIClient) -> Iterator[Inventory]:
    write_checkpoint(server.engine.lora_folder / "lighthouse.safetensors")
    yield Inventory(client)
    assert not [noted for noted in server.requests if noted[1].endswith("2img")], "nothing was painted"


def looked_up(inventory: Inventory, **forms: Any) -> list[str]:
    """The problems of a job's stages."""
    forms = {"txt2img": {"prompt": "a boat"}, **forms}
    steps: list[Step[Any]] = GenerationJob.model_validate({"checkpoint": "photo", **forms}).steps()
    for step in steps:
        step.stage.look_up(step, inventory)
    return inventory.problems


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"sampler_name": "euler A"}, "no sampler 'euler A' (did you mean 'Euler a'"),
        ({"sampler_name": "k_euler"}, "no sampler 'k_euler'"),
        ({"scheduler": "Karas"}, "no scheduler 'Karas' (did you mean 'Karras'"),
        ({"styles": ["nosuchstyle"]}, "no style 'nosuchstyle'"),
        ({"prompt": "x <lora:lighthous:0.8>"}, "no LoRA 'lighthous' (did you mean 'lighthouse'?)"),
        ({"enable_hr": True, "hr_upscaler": "Latnt"}, "no hires fix upscaler 'Latnt' (did you mean 'Latent'"),
        ({"negative_prompt": "x <lora: lighthous :0.8>"}, "no LoRA 'lighthous' (did you mean 'lighthouse'?)"),
        ({"sampler_name": "UniPC", "steps": 2}, "UniPC takes at least 3 steps here, 2 are asked for"),
        # What is refused only when the GPU is taken, or not at all.
        ({"extra": {"refiner_checkpoint": "phot"}}, "no checkpoint 'phot' (did you mean 'photo'"),
        ({"enable_hr": True, "extra": {"hr_checkpoint_name": "nosuch"}}, "no checkpoint 'nosuch'"),
        ({"enable_hr": True, "extra": {"hr_sampler_name": "Eular"}}, "no sampler 'Eular' (did you mean 'Euler'"),
        ({"enable_hr": True, "extra": {"hr_scheduler": "Karas"}}, "no scheduler 'Karas' (did you mean 'Karras'"),
        ({"enable_hr": True, "extra": {"hr_negative_prompt": "<lora:nosuch:1>"}}, "no LoRA 'nosuch'"),
        ({"enable_hr": True, "extra": {"hr_additional_modules": ["no.safetensors"]}}, "no VAE 'no.safetensors'"),
        ({"extra": {"override_settings": {"sd_vae": "no.safetensors"}}}, "no VAE 'no.safetensors'"),
        # Fields that the WebUI's own schema does not know.
        ({"extra": {"tilling": True}}, "no txt2img field 'tilling' (did you mean 'tiling'"),
        ({"extra": {"subseed": "seven"}}, "txt2img field subseed: 'seven' is not of type 'integer'"),
        ({"extra": {"override_settings": {"uni_pc_ordr": 2}}}, "no setting 'uni_pc_ordr' (did you mean 'uni_pc_order'"),
        (
            {"extra": {"override_settings": {"uni_pc_order": "two"}}},
            "setting uni_pc_order: 'two' is not of type 'number'",
        ),
    ],
)
def test_a_wrong_name_is_told_with_what_comes_near(inventory: Inventory, fields: dict[str, Any], says: str) -> None:
    (problem,) = looked_up(inventory, txt2img={"prompt": "a boat", **fields})
    assert says.lower() in problem.lower()


def test_what_stands_for_no_name_is_none(inventory: Inventory) -> None:
    hires = {"hr_checkpoint_name": "Use same checkpoint", "hr_sampler_name": "Use same sampler"}
    extra = {"refiner_checkpoint": "None", "subseed": None, "override_settings": {"sd_vae": "Automatic"}}
    one = {"ad_model": "mediapipe_face_full", "extra": {"ad_use_vae": True, "ad_vae": "Use same VAE"}}
    assert looked_up(inventory, txt2img=HIRES | {"extra": extra | hires}, adetailer=[one]) == []


def test_a_setting_that_allows_two_steps_is_heard(inventory: Inventory) -> None:
    unipc = {"prompt": "x", "sampler_name": "UniPC", "steps": 2}
    assert looked_up(inventory, txt2img=unipc | {"extra": {"override_settings": {"uni_pc_order": 2}}}) == []


def test_the_second_checkpoints_are_known_after_preflight(inventory: Inventory) -> None:
    looked_up(inventory, txt2img=HIRES | {"extra": {"refiner_checkpoint": "oil", "hr_checkpoint_name": "photo"}})
    assert {name: one.stem for name, one in inventory.checkpoints.items()} == {"oil": "oil", "photo": "photo"}


def test_right_names_are_no_problem(inventory: Inventory, client: WebUIClient) -> None:
    txt2img = {"prompt": "<lora:lighthouse:1>", "scheduler": "Karras", "styles": [client.styles()[0].name]}
    hires = {"enable_hr": True, "hr_upscaler": "Latent"}
    extra: dict[str, Any] = {"alwayson_scripts": {"ADetailer": {"args": []}}}
    passes = [{"ad_model": "mediapipe_face_full", "extra": {"ad_use_steps": True, "ad_steps": 30}}]
    upscale = {"upscaler": "Lanczos"}
    looked_up(inventory, txt2img={**txt2img, **hires, "extra": extra}, adetailer=passes, upscale=upscale)
    inventory.vae([])
    inventory.checkpoint("photo")
    assert inventory.checkpoints["photo"].file == "photo.safetensors"
    assert inventory.problems == []


def test_checkpoint_vae_upscaler_and_script(inventory: Inventory) -> None:
    inventory.checkpoint("Photo")
    assert inventory.checkpoints == {}
    inventory.vae(["nosuch.safetensors"])
    extra = {"script_name": "X/Y/Z plott", "alwayson_scripts": {"ControlNett": {}}}
    looked_up(inventory, txt2img={"prompt": "x", "extra": extra}, upscale={"upscaler": "Lanczoss"})
    checkpoint, vae, *scripts, upscaler = inventory.problems
    assert "no checkpoint 'Photo' (did you mean 'photo'" in checkpoint
    assert "no VAE 'nosuch.safetensors'" in vae
    assert "did you mean 'Lanczos'" in upscaler
    assert "did you mean 'x/y/z plot'" in scripts[0].lower()
    assert "ControlNett" in scripts[1]


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (
            {"ad_model": "mediapipe_face_ful"},
            "no ADetailer model 'mediapipe_face_ful' (did you mean 'mediapipe_face_full'",
        ),
        ({"extra": {"ad_mask_k_larges": 1}}, "no ADetailer field (pass 1) 'ad_mask_k_larges' (did you mean"),
        ({"extra": {"ad_step": 30}}, "did you mean 'ad_steps'"),
        ({"extra": {"ad_steps": "many"}}, "ADetailer field (pass 1) ad_steps: 'many' is not of type"),
        ({"ad_prompt": "<lora:nosuch:1>"}, "no LoRA 'nosuch'"),
        ({"ad_negative_prompt": "<lora:nosuch:1>"}, "no LoRA 'nosuch'"),
        ({"extra": {"ad_use_checkpoint": True, "ad_checkpoint": "phot"}}, "no checkpoint 'phot' (did you mean 'photo'"),
        ({"extra": {"ad_use_sampler": True, "ad_sampler": "eular"}}, "no sampler 'eular' (did you mean 'Euler'"),
        ({"extra": {"ad_use_sampler": True, "ad_scheduler": "Karas"}}, "no scheduler 'Karas'"),
        ({"extra": {"ad_use_vae": True, "ad_vae": "no.safetensors"}}, "no VAE 'no.safetensors'"),
    ],
)
def test_adetailer_against_its_own_schema(inventory: Inventory, one: dict[str, Any], says: str) -> None:
    (problem,) = looked_up(inventory, adetailer=[{"ad_model": "mediapipe_face_full", **one}])
    assert says in problem


def test_a_file_that_is_new_to_the_webui_is_found_by_a_refresh(inventory: Inventory, server: EmbeddedWebUI) -> None:
    write_checkpoint(server.engine.checkpoints_folder / "brandnew.safetensors")
    inventory.checkpoint("brandnew")
    assert inventory.checkpoints["brandnew"].file == "brandnew.safetensors"
    assert len(server.requests.of("POST", "/sdapi/v1/refresh-checkpoints")) == 1
    inventory.checkpoint("photo")
    assert len(server.requests.of("POST", "/sdapi/v1/refresh-checkpoints")) == 1, "only when a name is unknown"


def test_each_list_is_asked_for_once(inventory: Inventory, server: EmbeddedWebUI) -> None:
    for _ in range(3):
        looked_up(inventory)
    assert len(server.requests.of("GET", "/sdapi/v1/samplers")) == 1
    for path in ("/openapi.json", "/sdapi/v1/schedulers", "/sdapi/v1/loras"):
        assert not server.requests.of("GET", path), "nobody named one"
    for _ in range(3):
        looked_up(inventory, txt2img={"prompt": "a boat", "extra": {"tiling": True}})
    assert len(server.requests.of("GET", "/openapi.json")) == 1


def test_the_first_lists_are_asked_for_side_by_side(inventory: Inventory, server: EmbeddedWebUI) -> None:
    lists = {"checkpoints": "sd-models", "is_forge": "sd-modules", "samplers": "samplers"}
    for path in lists.values():
        arm(server, kind="slow", seconds=2, path=f"/sdapi/v1/{path}")
    started = time.monotonic()
    assert {one.stem for one in inventory.have(*lists)} >= {"photo", "oil"}
    assert time.monotonic() - started < 4
    assert inventory.forge


def test_a_webui_that_publishes_no_schema_is_asked_once_and_believed(
    inventory: Inventory, server: EmbeddedWebUI
) -> None:
    arm(server, kind="error", status=404, body={"detail": "Not Found"}, path="/openapi.json")
    for _ in range(2):
        looked_up(inventory, txt2img={"prompt": "a boat", "extra": {"tilling": True}})
    assert inventory.problems == []
    assert len(server.requests.of("GET", "/openapi.json")) == 1


NAMES = st.text() | st.sampled_from(["Euler", "photo", "<lora:x:1>", "Use same sampler", "None", "\ud83d"])
VALUES = st.recursive(NAMES | st.none() | st.booleans() | st.integers() | st.floats(), st.lists, max_leaves=4)
NAMING = [field for _, fields in KINDS.values() for field in fields]
EXTRA = st.dictionaries(st.sampled_from([*NAMING, "script_name", "subseed", "tiling"]) | st.text(), VALUES)


@given(name=st.text(), known=st.lists(st.text(), max_size=12))
def test_a_hint_can_be_had_for_any_name(name: str, known: list[str]) -> None:
    assert near(name, known).count("?") <= 1 + sum(one.count("?") for one in known)


@given(extra=EXTRA, overrides=EXTRA, script=NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_extra_is_told_and_nothing_secret(
    server: EmbeddedWebUI, extra: dict[str, Any], overrides: dict[str, Any], script: str
) -> None:
    inventory = Inventory(WebUIClient(server.url, user="me", password="mellon-7f3a"))
    everything = extra | {"override_settings": overrides, "alwayson_scripts": {script: {}}}
    inventory.payload("txt2img", {"sampler_name": "UniPC", "steps": 2, "prompt": "a boat"}, everything)
    assert "mellon" not in " ".join(inventory.problems)
    for field in extra.keys() - set(NAMING) - {"script_name", "subseed", "tiling"}:
        assert any(f"no txt2img field {field[:200]!r}" in one for one in inventory.problems)


def test_a_picture_in_the_wrong_place_is_not_repeated(inventory: Inventory) -> None:
    picture = "iVBORw0KGgo" * 10_000
    (wrong,) = looked_up(inventory, txt2img={"prompt": "x", "extra": {"subseed": picture}})
    assert wrong.endswith("is not of type 'integer'")
    assert len(wrong) < 300


# -- modules -------------------------------------------------------------------------------------------------


def test_each_module_is_looked_up_on_forge(inventory: Inventory) -> None:
    inventory.vae(["nosuch.safetensors", "neither.safetensors"])
    extra = {"override_settings": {"forge_additional_modules": ["norher.safetensors"]}}
    looked_up(inventory, txt2img={"prompt": "x", "extra": extra})
    assert [problem.split("'")[1] for problem in inventory.problems] == [
        "nosuch.safetensors",
        "neither.safetensors",
        "norher.safetensors",
    ]


def test_automatic1111_takes_one_vae(tmp_path: Path, home: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path / "webui", forge=False) as server:
        inventory = Inventory(WebUIClient(server.url))
        inventory.vae(["ae.safetensors", "clip_l.safetensors", "t5xxl_fp8.safetensors"])
    assert inventory.problems[0].startswith(
        "the job names 3 modules as vae (ae.safetensors, clip_l.safetensors, t5xxl_fp8.safetensors), "
        "but this WebUI is AUTOMATIC1111, which loads one VAE"
    )


# -- given files ---------------------------------------------------------------------------------------------


def checked(client: WebUIClient, folder: Path, size: tuple[int, int], **stages: Any) -> Item:
    """A job's preflight in a run of its own; it starts from a picture of ``size``."""
    Image.new("RGB", size, "teal").save(folder / "given.png")
    reference = keep("given.png", beside=folder)
    fields = {"checkpoint": "photo", "init_images": [reference], "images": 2, **stages}

    @flow
    def checking() -> list[Item]:
        return preflight(
            [GenerationJob.model_validate(fields)], client, lambda: Gallery(folder=str(folder / "gallery"))
        )

    [item] = checking()
    return item


def test_a_given_file_becomes_the_pictures_to_start_from(
    client: WebUIClient, prefect_server: None, tmp_path: Path
) -> None:
    item = checked(client, tmp_path, (200, 100), img2img={"seed": 5})
    assert item.error is None
    assert [(one.seed, one.index, one.width, one.height) for one in item.pictures] == [
        (5, 1, 200, 100),
        (6, 2, 200, 100),
    ]
    assert list(item.checkpoints) == ["photo"]


@pytest.mark.parametrize(
    ("size", "stages", "says"),
    [
        ((100, 52), {"adetailer": [{"ad_model": "mediapipe_face_full"}]}, "100×52: ADetailer needs multiples of 8"),
        ((2000, 8), {"upscale": {"upscaler": "Lanczos", "factor": 8}}, "upscaling 2000×8 by 8 would make 16000×64"),
    ],
)
def test_a_size_that_a_stage_cannot_take_is_found_before_the_gpu(
    client: WebUIClient,
    prefect_server: None,
    tmp_path: Path,
    size: tuple[int, int],
    stages: dict[str, Any],
    says: str,
) -> None:
    item = checked(client, tmp_path, size, **stages)
    assert says in str(item.error)
    assert "store:" in str(item.error), "and which file it is"


def test_a_file_that_is_gone_is_named_beside_all_else(
    client: WebUIClient, prefect_server: None, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "mask.png")
    stages = {"img2img": {"mask": "store:gone.png", "sampler_name": "euler"}}
    item = checked(client, tmp_path, (64, 64), **stages)
    assert "no sampler 'euler'" in str(item.error)
    assert "store:gone.png is not in the store" in str(item.error)
