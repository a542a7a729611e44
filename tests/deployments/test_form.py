"""The forms of ``generate`` and ``batch`` offer what the WebUI has, and take what they took before."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from deployments.form import MOST, OFFERED, names_of, offer
from flows.batch import batch
from flows.generate import generate
from tests.servers import Prefect
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI

JOB: dict[str, Any] = {"checkpoint": "0a1b2c3d4e", "txt2img": {"prompt": "a boat", "sampler_name": "my own"}}


def choices(field: dict[str, Any]) -> list[str]:
    found = [one["enum"] for one in field["anyOf"] if one.get("title") == OFFERED]
    return found[0] if found else []


def properties(schema: dict[str, Any], form: str = "GenerationJob") -> dict[str, Any]:
    return schema["definitions"][form]["properties"]


def test_each_field_with_names_offers_those_of_the_webui(deployed: Prefect, painter: EmbeddedWebUI) -> None:
    webui = WebUIClient(painter.url)
    for name in ("generate/generate", "batch/batch"):
        schema = deployed.deployment(name)["parameter_openapi_schema"]
        job = properties(schema)
        assert "photo.safetensors" in choices(job["checkpoint"])
        assert choices(job["txt2img"]["properties"]["sampler_name"]) == [one.name for one in webui.samplers()]
        assert "Latent" in choices(job["txt2img"]["properties"]["hr_upscaler"])
        assert choices(properties(schema, "Img2Img")["checkpoint"]) == choices(job["checkpoint"])
        assert choices(properties(schema, "Txt2Img")["styles"]["items"]) == [one.name for one in webui.styles()]
        assert choices(properties(schema, "ADetailerPass")["ad_model"]) == webui.adetailer_models()
        assert offer(schema, names_of(webui)) == schema
    plain = deployed.deployment("generate/nightly")["parameter_openapi_schema"]
    assert properties(plain)["checkpoint"]["type"] == "string"


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, ""),
        ({"img2img": None, "upscale": None, "wildcards": None, "vae": None}, ""),
        ({"img2img": {"checkpoint": None, "width": None, "styles": None, "sampler_name": "mine"}}, ""),
        ({"txt2img": None, "init_images": ["a.png"], "upscale": {"upscaler": "mine"}}, ""),
        ({"txt2img": {"prompt": "a boat", "height": 100}}, "100 is not a multiple of 8"),
        ({"txt2img": {"prompt": "a boat", "hight": 100}}, "'hight' was unexpected"),
    ],
    ids=str,
)
def test_the_server_takes_any_name_and_null_and_names_what_is_wrong(
    deployed: Prefect, changes: dict[str, Any], refused: str
) -> None:
    deployment = deployed.deployment()["id"]
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
    body = {"parameters": {"job": JOB | changes}, "state": later}
    answer = requests.post(f"{deployed.api}/deployments/{deployment}/create_flow_run", json=body, timeout=60)
    assert (answer.status_code, refused in answer.text) == (409 if refused else 201, True), answer.text
    if not refused:
        deployed.call("DELETE", f"/flow_runs/{answer.json()['id']}")


def test_a_webui_with_thousands_of_names_makes_no_endless_form() -> None:
    for flow in (generate, batch):
        schema = flow.parameters.model_dump(exclude_unset=True)
        many = {"checkpoint": [f"{number}.safetensors" for number in range(10_000)], "ad_model": []}
        offered = offer(schema, many)
        assert len(choices(properties(offered)["checkpoint"])) == MOST
        assert choices(properties(offered, "ADetailerPass")["ad_model"]) == []
        assert offer(offered, many) == offered
