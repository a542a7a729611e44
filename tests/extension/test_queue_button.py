"""The Queue button of the WebUI's page, against a stand-in of the WebUI's modules: what it sends, and what it says.

With a real queue: tests/gateway/test_queue_api.py.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from enum import Enum
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.extension.page import Page, opened


class Queue:
    """An HTTP server in the place of the gateway: keeps what it is sent."""

    def __init__(self) -> None:
        self.status, self.said, self.waiting = 201, json.dumps({"id": "mine"}), ["other", "mine"]
        self.got: list[tuple[str, dict[str, Any], str]] = []
        queue = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                queue.got.append((self.path, body, self.headers.get("Authorization", "")))
                assert "Origin" not in self.headers
                self.answer(queue.status, queue.said)

            def do_GET(self) -> None:
                self.answer(200, json.dumps({"size": 2, "tasks": queue.waiting}))

            def answer(self, status: int, said: str) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(said.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def payload(self) -> dict[str, Any]:
        return self.got[-1][1]


@pytest.fixture
def queue() -> Iterator[Queue]:
    queue = Queue()
    thread = Thread(target=queue.server.serve_forever, args=(0.02,))
    thread.start()
    yield queue
    queue.server.shutdown()
    queue.server.server_close()
    thread.join()


@pytest.fixture(params=[4, 3], ids=["gradio-4", "gradio-3"])
def page(request: pytest.FixtureRequest, queue: Queue) -> Iterator[Page]:
    with opened(request.param) as page:
        page.options.data["darkroom_address"] = queue.url + "/"
        yield page


def picture(png: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(png)))


def test_what_the_page_holds_is_sent_with_every_scripts_arguments(page: Page, queue: Queue) -> None:
    said = page.queue(prompt="a <red> boat", scripts={"StyleAlign Integrated": [0.7, {"a": [1, None]}]})
    assert said.startswith("Queued: number 2 of 2 that wait")
    assert queue.got[-1][0] == "/task-scheduler/queue/txt2img"
    sent = queue.payload
    assert (sent["prompt"], sent["width"], sent["enable_hr"]) == ("a <red> boat", 64, False)
    assert (sent["steps"], sent["sampler_name"], sent["seed"]) == (2, "Euler", 5)  # set by scripts of the page
    assert sent["override_settings"] == {
        "sd_model_checkpoint": "ink.safetensors",
        "CLIP_stop_at_last_layers": 2,
        "forge_additional_modules": ["soft.safetensors"],
    }
    assert sent["alwayson_scripts"] == {
        "ControlNet": {"args": [None, None]},
        "Never OOM Integrated": {"args": [False, False]},
        "StyleAlign Integrated": {"args": [0.7, {"a": [1, None]}]},
    }
    assert "outpath_samples" not in sent
    assert not page.painted


def test_img2img_is_sent_with_its_pictures_at_the_size_that_the_page_shows(page: Page, queue: Queue) -> None:
    mask = Image.new("L", (32, 32), 255)
    page.queue("img2img", init_img=Image.new("RGB", (32, 32), "red"), mode=4, init_mask=mask, scale_tab=1, scale_by=2.0)
    sent = queue.payload
    assert (sent["width"], sent["height"], sent["denoising_strength"]) == (64, 64, 0.5)
    assert picture(sent["init_images"][0]).getpixel((0, 0)) == (255, 0, 0)
    assert picture(sent["mask"]).getpixel((0, 0)) == 255


@pytest.mark.parametrize("fields", [{}, {"mode": 5, "folder": "/srv"}, {"scale_tab": 1}], ids=str)
def test_img2img_without_a_picture_is_not_queued(page: Page, queue: Queue, fields: dict[str, Any]) -> None:
    assert "Not queued" in (said := page.queue("img2img", **fields))
    assert "no picture" in said or "no image" in said
    assert not queue.got


def test_a_selected_script_is_sent_by_its_title(page: Page, queue: Queue) -> None:
    page.queue(scripts={"selected": [1]})
    assert (queue.payload["script_name"], queue.payload["script_args"]) == ("X/Y/Z plot", ["Seed", "1, 2"])


def test_what_can_not_be_sent_as_json_is_named(page: Page, queue: Queue) -> None:
    said = page.queue(scripts={"StyleAlign Integrated": [float("nan"), "thing"], "Seed": [5, np.float32]})
    assert "Not queued: subseed (type) can&#x27;t be sent as JSON" in said
    said = page.queue(scripts={"StyleAlign Integrated": [0.5, ["fine", io.BytesIO()]]})
    assert (
        "Queued" in said
        and "without StyleAlign Integrated: StyleAlign Integrated[1][1] (BytesIO) can&#x27;t be sent" in said
    )
    assert set(queue.payload["alwayson_scripts"]) == {"ControlNet", "Never OOM Integrated"}


class Mode(Enum):
    SIMPLE, BATCH = "simple", "batch"


def unit(**fields: Any) -> SimpleNamespace:
    empty = dict.fromkeys(("generated_image", "mask_image", "mask_image_fg", "image", "image_fg"))
    usual = {"enabled": True, "module": "canny", "input_mode": Mode.SIMPLE, "use_preview_as_input": False}
    return SimpleNamespace(**{**empty, **usual, **fields})


def test_a_unit_of_controlnet_is_sent_as_its_api_takes_it(page: Page, queue: Queue) -> None:
    photo = np.full((8, 8, 3), 200, np.uint8)
    scribble = np.zeros((8, 8, 4), np.uint8)
    scribble[2:4, :, 3] = 255
    both = [unit(image=photo, image_fg=scribble), unit(enabled=False, image=photo)]
    page.queue(scripts={"ControlNet": both})
    first, second = queue.payload["alwayson_scripts"]["ControlNet"]["args"]
    assert second == {"enabled": False}
    assert (first["module"], first["input_mode"]) == ("canny", "simple")
    assert picture(first["image"]).getpixel((0, 0)) == (200, 200, 200)
    assert picture(first["mask_image"]).getpixel((0, 2)) == 255 and picture(first["mask_image"]).getpixel((0, 0)) == 0
    preview = unit(generated_image=photo, use_preview_as_input=True, image=photo * 0)
    drawn = unit(image=photo * 0, image_fg=scribble)
    page.queue(scripts={"ControlNet": [preview, drawn]})
    first, second = queue.payload["alwayson_scripts"]["ControlNet"]["args"]
    assert first["module"] == "None" and picture(first["image"]).getpixel((0, 0)) == (200, 200, 200)
    assert picture(second["image"]).getpixel((0, 2)) == 255
    said = page.queue(scripts={"ControlNet": [unit(input_mode=Mode.BATCH), None]})
    assert "without ControlNet" in said and "files of this machine" in said


def test_the_queue_says_why_it_does_not_take_it(page: Page, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.status, queue.said = 422, '{"detail": "steps: <at most 150>"}'
    assert "422" in (said := page.queue()) and "&lt;at most 150&gt;" in said
    queue.status = 401
    assert "DARKROOM_QUEUE_AUTH" in page.queue()
    queue.status, queue.said = 201, "{}"
    assert "no queue answers" in page.queue()
    queue.said, queue.waiting = '{"id": "mine"}', []
    monkeypatch.setenv("DARKROOM_QUEUE_AUTH", "me:secret")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert page.queue().startswith("Queued: 2 wait")
    assert base64.b64decode(queue.got[-1][2].partition(" ")[2]) == b"me:secret"
    queue.server.server_close()
    page.options.data["darkroom_address"] = "http://127.0.0.1:9"
    assert "start `darkroom up`" in page.queue()


def test_the_click_brings_the_units_up_to_date_first_and_reads_every_input(page: Page) -> None:
    unit, ours = page.queue_button("img2img")
    assert unit.fn(2.0) == "unit of 2.0"
    assert f"slice(0, {len(ours.inputs)})" in ours._js
    assert ("get_tab_index('mode_img2img')" in ours._js) == (page.block.version == 3)


def test_another_extension_that_has_taken_the_place_of_img2img_is_named(page: Page, queue: Queue) -> None:
    from modules import img2img  # the stand-in

    img2img.img2img = lambda *args: None
    assert "another extension (tests.extension.test_queue_button) has replaced" in page.queue("img2img")


def test_automatic1111_has_a_vae_in_place_of_modules(queue: Queue) -> None:
    with opened(3, forge=False) as page:
        page.options.data["darkroom_address"] = queue.url
        page.queue()
    assert queue.payload["override_settings"]["sd_vae"] == "soft.safetensors"
