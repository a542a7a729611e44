"""Every wrong name is found before the GPU is taken, with what comes near it; nothing is painted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect import flow

from blocks.gallery import Gallery
from flows.job import GenerationJob
from store.inputs import keep
from tasks.inventory import Inventory
from tasks.preflight import preflight
from tasks.stage import Item, Step
from webui.client import WebUIClient
from webui.embedded.checkpoints import write_checkpoint
from webui.embedded.server import EmbeddedWebUI


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
    ],
)
def test_a_wrong_name_is_told_with_what_comes_near(inventory: Inventory, fields: dict[str, Any], says: str) -> None:
    (problem,) = looked_up(inventory, txt2img={"prompt": "a boat", **fields})
    assert says.lower() in problem.lower()


def test_right_names_are_no_problem(inventory: Inventory, client: WebUIClient) -> None:
    txt2img = {"prompt": "<lora:lighthouse:1>", "scheduler": "Karras", "styles": [client.styles()[0].name]}
    hires = {"enable_hr": True, "hr_upscaler": "Latent"}
    extra: dict[str, Any] = {"alwayson_scripts": {"ADetailer": {"args": []}}}
    passes = [{"ad_model": "mediapipe_face_full", "extra": {"ad_use_steps": True, "ad_steps": 30}}]
    upscale = {"upscaler": "Lanczos"}
    looked_up(inventory, txt2img={**txt2img, **hires, "extra": extra}, adetailer=passes, upscale=upscale)
    inventory.vae([])
    assert inventory.checkpoint("photo") is not None
    assert inventory.problems == []


def test_checkpoint_vae_upscaler_and_script(inventory: Inventory) -> None:
    assert inventory.checkpoint("Photo") is None
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
        ({"extra": {"ad_mask_k_larges": 1}}, "'ad_mask_k_larges' was unexpected"),
        ({"extra": {"ad_step": 30}}, "did you mean 'ad_steps'"),
        ({"extra": {"ad_steps": "many"}}, "ad_steps 'many' is not of type"),
        ({"ad_prompt": "<lora:nosuch:1>"}, "no LoRA 'nosuch'"),
    ],
)
def test_adetailer_against_its_own_schema(inventory: Inventory, one: dict[str, Any], says: str) -> None:
    (problem,) = looked_up(inventory, adetailer=[{"ad_model": "mediapipe_face_full", **one}])
    assert says in problem


def test_a_file_that_is_new_to_the_webui_is_found_by_a_refresh(inventory: Inventory, server: EmbeddedWebUI) -> None:
    write_checkpoint(server.engine.checkpoints_folder / "brandnew.safetensors")
    found = inventory.checkpoint("brandnew")
    assert found is not None
    assert found.file == "brandnew.safetensors"
    assert len(server.requests.of("POST", "/sdapi/v1/refresh-checkpoints")) == 1
    inventory.checkpoint("photo")
    assert len(server.requests.of("POST", "/sdapi/v1/refresh-checkpoints")) == 1, "only when a name is unknown"


def test_each_list_is_asked_for_once(inventory: Inventory, server: EmbeddedWebUI) -> None:
    for _ in range(3):
        looked_up(inventory)
    assert len(server.requests.of("GET", "/sdapi/v1/samplers")) == 1


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
        return preflight([GenerationJob.model_validate(fields)], client, Gallery(folder=str(folder / "gallery")))

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
