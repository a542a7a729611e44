"""A client's request as a stage: sent as it stands, and the WebUI's answer kept as it came."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.generate import generate
from flows.job import GenerationJob
from store.settings import settings
from tasks.publish import Published
from tasks.raw import with_pictures_stored
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI
from webui.errors import CallFailed

PAYLOAD: dict[str, Any] = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "seed": 5}
pytestmark = pytest.mark.usefixtures("prefect_server")


def paint(server: EmbeddedWebUI, home: Path, endpoint: str, **payload: Any) -> list[Published]:
    raw = {"endpoint": endpoint, "payload": with_pictures_stored(payload)}
    job = GenerationJob.model_validate({"name": "raw", "checkpoint": "ink", "raw": raw})
    return generate(job, WebUI(base_url=server.url), Gallery(folder=str(home / "gallery")))


def kept(home: Path) -> tuple[int, Any]:
    """The one answer that was kept."""
    [path] = (settings().runs).glob("*/answer")
    status, _, body = path.read_bytes().partition(b"\n")
    return int(status), json.loads(body)


def direct(server: EmbeddedWebUI, **payload: Any) -> bytes:
    overrides = {"sd_model_checkpoint": "ink", "CLIP_stop_at_last_layers": 1}
    return WebUIClient(server.url).txt2img(payload | {"override_settings": overrides}).images[0]


def pixels(content: bytes) -> bytes:
    return Image.open(io.BytesIO(content)).convert("RGB").tobytes()


def test_a_request_is_painted_as_it_stands_and_its_answer_kept_whole(server: EmbeddedWebUI, home: Path) -> None:
    published = paint(server, home, "txt2img", **PAYLOAD, n_iter=2, batch_size=2)
    assert [one.seed for one in published] == [5, 6, 7, 8]
    status, body = kept(home)
    assert status == 200
    assert len(json.loads(body["info"])["all_seeds"]) == 4
    assert {"images", "parameters", "info"} <= body.keys()
    first = base64.b64decode(body["images"][json.loads(body["info"])["index_of_first_image"]])
    assert pixels(first) == pixels(Path(published[0].path).read_bytes()) == pixels(direct(server, **PAYLOAD))


def test_variations_keep_the_seed(server: EmbeddedWebUI, home: Path) -> None:
    published = paint(server, home, "txt2img", **PAYLOAD, batch_size=2, subseed=9, subseed_strength=0.5)
    assert len({one.path for one in published}) == 2
    assert json.loads(kept(home)[1]["info"])["all_seeds"] == [5, 5]


def test_pictures_go_through_the_store(server: EmbeddedWebUI, home: Path) -> None:
    init = base64.b64encode(direct(server, **PAYLOAD)).decode()
    paint(server, home, "img2img", **PAYLOAD, init_images=[f"data:image/png;base64,{init}"], denoising_strength=0.3)
    [(_, _, _, body)] = [one for one in server.requests if one[1].endswith("img2img")]
    assert body is not None
    assert f"<{len(init)} characters>" in body["init_images"][0], "the picture, and no reference"
    [answered] = kept(home)[1]["images"]
    overrides = {"sd_model_checkpoint": "ink", "CLIP_stop_at_last_layers": 1}
    asked = PAYLOAD | {"init_images": [init], "denoising_strength": 0.3, "override_settings": overrides}
    assert pixels(base64.b64decode(answered)) == pixels(WebUIClient(server.url).img2img(asked).images[0])


def test_an_upscale_needs_no_checkpoint(server: EmbeddedWebUI, home: Path) -> None:
    image = base64.b64encode(direct(server, **PAYLOAD)).decode()
    [one] = paint(server, home, "extra-single-image", image=image, upscaler_1="Lanczos", upscaling_resize=2)
    assert Image.open(one.path).size == (128, 128)
    assert kept(home)[0] == 200


def test_what_the_webui_refuses_is_the_answer(server: EmbeddedWebUI, home: Path) -> None:
    with pytest.raises(CallFailed, match="422"):
        paint(server, home, "txt2img", **PAYLOAD, alwayson_scripts={"no such script": {"args": []}})
    assert kept(home) == (422, {"detail": "Script 'no such script' not found"})


@pytest.mark.parametrize(
    ("raw", "more", "wrong"),
    [
        ({"endpoint": "txt2img", "payload": {"n_iter": 100}}, {}, "100 pictures"),
        ({"endpoint": "txt2img", "payload": {}}, {"upscale": {"upscaler": "Lanczos"}}, "stands alone"),
        ({"endpoint": "interrupt", "payload": {}}, {}, "endpoint"),
    ],
)
def test_a_wrong_one_is_refused(raw: dict[str, Any], more: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        GenerationJob.model_validate({"checkpoint": "ink", "raw": raw} | more)
