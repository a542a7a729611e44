"""Every wrong name is found before the GPU is taken, with what comes near it; nothing is painted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flows.job import GenerationJob
from tasks.inventory import Inventory
from tasks.stage import Step
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
    extra = {"alwayson_scripts": {"ADetailer": {"args": []}}}
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
