"""A client of the WebUI's API gets the queue by changing one address."""

from __future__ import annotations

import base64
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from tests.gateway.conftest import Gateway, start
from tests.servers import Prefect
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI

PAYLOAD: dict[str, Any] = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "seed": 5}


def pixels(encoded: str) -> bytes:
    return Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB").tobytes()


def test_a_picture_is_the_one_that_the_webui_makes(gateway: Gateway, painter: EmbeddedWebUI) -> None:
    ours = gateway.call("POST", "/sdapi/v1/txt2img", PAYLOAD)
    direct = requests.post(f"{painter.url}/sdapi/v1/txt2img", json=PAYLOAD, timeout=60).json()
    assert ours.keys() == direct.keys()
    assert pixels(ours["images"][0]) == pixels(direct["images"][0])
    ours_info, info = json.loads(ours["info"]), json.loads(direct["info"])
    assert ours_info.keys() == info.keys()
    assert ours_info["infotexts"] == info["infotexts"]


def test_a_refusal_is_the_webuis_own(gateway: Gateway, painter: EmbeddedWebUI) -> None:
    wrong = PAYLOAD | {"alwayson_scripts": {"no such script": {"args": []}}}
    direct = requests.post(f"{painter.url}/sdapi/v1/txt2img", json=wrong, timeout=60)
    ours = requests.post(f"{gateway.url}/sdapi/v1/txt2img", json=wrong, timeout=60)
    assert (ours.status_code, ours.json()) == (direct.status_code, direct.json())


def test_lists_and_options_come_from_the_webui(gateway: Gateway, painter: EmbeddedWebUI) -> None:
    for path in ("sd-models", "samplers", "upscalers", "options", "scripts"):
        direct = requests.get(f"{painter.url}/sdapi/v1/{path}", timeout=60).json()
        assert gateway.call("GET", f"/sdapi/v1/{path}", client="lists") == direct


def test_a_client_selects_a_checkpoint_for_itself_alone(gateway: Gateway, painter: EmbeddedWebUI) -> None:
    before = requests.get(f"{painter.url}/sdapi/v1/options", timeout=60).json()["sd_model_checkpoint"]
    posted = len(painter.requests.of("POST", "/sdapi/v1/options"))  # by other modules
    gateway.call("POST", "/as/krita/sdapi/v1/options", {"sd_model_checkpoint": "oil"})
    assert len(painter.requests.of("POST", "/sdapi/v1/options")) == posted
    assert gateway.call("GET", "/as/krita/sdapi/v1/options")["sd_model_checkpoint"] == "oil"
    assert gateway.call("GET", "/as/other/sdapi/v1/options")["sd_model_checkpoint"] == before
    info = json.loads(gateway.call("POST", "/as/krita/sdapi/v1/txt2img", PAYLOAD)["info"])
    assert info["sd_model_name"] == "oil"


def test_options_that_prefect_would_not_hold_are_refused(gateway: Gateway) -> None:
    said = gateway.call("POST", "/as/big/sdapi/v1/options", {"samples_filename_pattern": '"' * 2500}, status=422)
    assert "at most 4,900 are remembered" in said["detail"]
    gateway.call("POST", "/as/big/sdapi/v1/options", {"samples_filename_pattern": '"' * 1000})
    assert len(gateway.call("GET", "/as/big/sdapi/v1/options")["samples_filename_pattern"]) == 1000


@pytest.mark.parametrize("route", ["server-kill", "server-restart", "unload-checkpoint", "train/embedding"])
def test_what_would_harm_others_is_refused(gateway: Gateway, route: str) -> None:
    said = gateway.call("POST", f"/sdapi/v1/{route}", {}, status=403)
    assert "not passed on" in said["detail"]


def test_asking_again_finds_the_job_also_after_the_gateway_was_killed(
    gateway: Gateway, painter: EmbeddedWebUI, held: EmbeddedWebUI
) -> None:
    payload = PAYLOAD | {"force_task_id": "task(again)", "steps": 10, "prompt": "asked twice"}
    failed: list[Exception] = []

    def ask() -> None:
        try:
            requests.post(f"{gateway.url}/as/fan/sdapi/v1/txt2img", json=payload, timeout=60)
        except requests.RequestException as error:
            failed.append(error)

    first = threading.Thread(target=ask)
    first.start()
    seen = {"id_task": "task(again)", "live_preview": False}
    until("it is under way", lambda: gateway.call("POST", "/internal/progress", seen)["active"])
    port = int(gateway.url.rpartition(":")[2])
    gateway.child.kill()
    first.join()
    assert failed
    gateway.child = start(gateway.prefect, port)
    held.steps.step_time = 0.0
    again = gateway.call("POST", "/as/fan/sdapi/v1/txt2img", payload)
    assert len(again["images"]) == 1
    assert gateway.call("GET", "/internal/restore/task(again)") == again
    until("it has ended", lambda: gateway.call("POST", "/internal/progress", seen)["completed"])
    prompts = [body["prompt"] for _, path, _, body in painter.requests if path.endswith("txt2img") and body]
    assert prompts.count("asked twice") == 1


def test_interrupt_means_the_clients_own_job(gateway: Gateway, held: EmbeddedWebUI) -> None:
    with ThreadPoolExecutor() as pool:
        mine = pool.submit(gateway.call, "POST", "/as/me/sdapi/v1/txt2img", PAYLOAD | {"steps": 50, "prompt": "mine"})

        def progress(client: str) -> Any:
            return gateway.call("GET", f"/as/{client}/sdapi/v1/progress?skip_current_image=true")

        until("it paints", lambda: progress("me")["state"]["sampling_step"] > 0)
        assert progress("somebody")["state"]["job_count"] == 0
        gateway.call("POST", "/as/somebody/sdapi/v1/interrupt", {})
        assert progress("me")["state"]["job_count"] == 1
        gateway.call("POST", "/as/me/sdapi/v1/interrupt", {})
        assert mine.result(60)["images"] == []


def test_twelve_clients_at_once_get_their_own_pictures(gateway: Gateway, painter: EmbeddedWebUI) -> None:
    def ask(number: int) -> str:
        payload = PAYLOAD | {"seed": 100 + number}
        return str(gateway.call("POST", f"/as/c{number}/sdapi/v1/txt2img", payload)["info"])

    with ThreadPoolExecutor(12) as pool:
        infos = list(pool.map(ask, range(12)))
    assert [json.loads(info)["seed"] for info in infos] == [100 + number for number in range(12)]


def test_a_batch_makes_room_and_goes_on_later(gateway: Gateway, painter: EmbeddedWebUI, held: EmbeddedWebUI) -> None:
    held.steps.step_time = 0.2
    form = {"prompt": "many", "width": 64, "height": 64, "steps": 10, "seed": 1}
    job = {"name": "many", "checkpoint": "photo", "images": 4, "txt2img": form}
    batch = gateway.call("POST", "/task-scheduler/queue", job, status=201)["id"]

    def order() -> list[str]:
        return [body["prompt"] for _, path, _, body in painter.requests if path.endswith("txt2img") and body]

    begun = len(order())
    until("the batch paints", lambda: "many" in order()[begun:])
    gateway.call("POST", "/as/me/sdapi/v1/txt2img", PAYLOAD | {"prompt": "at once"})
    held.steps.step_time = 0.0
    assert gateway.prefect.ends(batch) == "COMPLETED"
    prompts = [prompt for prompt in order()[begun:] if prompt in ("many", "at once")]
    assert prompts.index("at once") < 3
    assert prompts.count("many") == 4, "none is painted twice"


def test_another_address_in_the_webuis_block_is_taken_up(
    gateway: Gateway, deployed: Prefect, painter: EmbeddedWebUI, tmp_path: Path
) -> None:
    block = deployed.call("GET", "/block_types/slug/webui/block_documents/name/default")["id"]

    def lists_come_from(webui: EmbeddedWebUI) -> None:
        change = {"data": {"base_url": webui.url}, "merge_existing_data": True}
        deployed.call("PATCH", f"/block_documents/{block}", change)
        webui.requests.clear()

        def asked() -> bool:
            gateway.call("GET", "/sdapi/v1/loras")
            return bool(webui.requests.of("GET", "/sdapi/v1/loras"))

        until("it is asked", asked)

    with EmbeddedWebUI(folder=tmp_path) as other:
        lists_come_from(other)
        lists_come_from(painter)
