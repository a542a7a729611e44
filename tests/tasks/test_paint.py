"""Nothing is believed because of a 200; what is written is whole, and tells how it came to be."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect import flow
from skimage.data import astronaut

from gpu.request import Request
from gpu.sender import Sender
from pictures.checks import checked
from pictures.kept import kept
from store.files import write_whole
from store.picture import Picture
from store.settings import settings
from tasks.adetailer import ADETAILER
from tasks.img2img import IMG2IMG
from tasks.stage import Stage
from tasks.txt2img import TXT2IMG
from tasks.upscale import UPSCALE
from tests.requesting import arm, item_for, request_for
from webui import infotext
from webui.client import WebUIClient
from webui.embedded.checkpoints import write_checkpoint
from webui.embedded.server import EmbeddedWebUI
from webui.errors import BrokenImage, WrongCheckpoint, WrongImages
from webui.models import Generation


@pytest.fixture
def run(client: WebUIClient, prefect_server: None) -> Callable[[Request], list[Picture]]:
    """Paint in a flow run of its own, as the stage tasks do."""

    stages: dict[str, Stage[Any]] = {one.name: one for one in (TXT2IMG, IMG2IMG, ADETAILER, UPSCALE)}

    @flow
    def painting(request: Any) -> list[Picture]:
        with Sender(client, run="r" * 8) as sender:
            return stages[request.stage].paint(request, sender)

    return painting


def answer(client: WebUIClient, request: Request) -> Generation:
    return client.txt2img(request.body("task(x)"))


def changed(request: Request, **changes: Any) -> Request:
    return Request.model_validate(request.model_dump() | changes)


# -- what came back is what was asked ------------------------------------------------------------------------


def test_what_was_asked_is_taken(server: EmbeddedWebUI, client: WebUIClient) -> None:
    request = request_for(server)
    assert len(checked(request, answer(client, request))) == 1


def test_a_wrong_model_is_refused(server: EmbeddedWebUI, client: WebUIClient) -> None:
    request = request_for(server)
    answer(client, request)
    other = changed(request, payload=request.payload | {"override_settings": {"sd_model_checkpoint": "ink"}})
    with pytest.raises(WrongCheckpoint, match=r"asked for photo.*but ink"):
        checked(request, answer(client, other))


def test_a_checkpoint_in_a_folder_that_was_never_loaded_is_known_again(
    server: EmbeddedWebUI, client: WebUIClient
) -> None:
    """Its list calls it ``styles_comic``, its pictures ``comic``."""
    write_checkpoint(server.engine.checkpoints_folder / "styles" / "comic.safetensors")
    client.refresh_checkpoints()
    comic = next(one for one in client.checkpoints() if one.is_called("comic"))
    assert (comic.hash, comic.model_name) == (None, "styles_comic")
    request = request_for(server)
    standing = {"override_settings": {"sd_model_checkpoint": comic.file}}
    request = changed(request, checkpoint=comic, payload=request.payload | standing)
    assert checked(request, answer(client, request))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n_iter": 2}, "asked for 1 pictures, 2 came back"),
        ({"width": 128}, r"asked for \(64, 64\) pixels, \(128, 64\) came back"),
        ({"seed": 9}, r"asked for seeds \(1,\), \[9\] came back"),
    ],
)
def test_another_number_size_or_seed_is_refused(
    server: EmbeddedWebUI, client: WebUIClient, change: dict[str, Any], says: str
) -> None:
    request = request_for(server)
    with pytest.raises(WrongImages, match=says):
        checked(request, answer(client, changed(request, payload=request.payload | change)))


@pytest.mark.parametrize("how", ["truncated", "corrupt"])
def test_a_broken_picture_is_refused_and_worth_another_try(
    server: EmbeddedWebUI, client: WebUIClient, how: str
) -> None:
    arm(server, kind="image", how=how)
    request = request_for(server)
    with pytest.raises(BrokenImage) as caught:
        checked(request, answer(client, request))
    assert caught.value.transient


def test_a_size_that_a_latent_cannot_have_may_come_rounded_down(server: EmbeddedWebUI, client: WebUIClient) -> None:
    request = request_for(server)
    checked(changed(request, size=(70, 71)), answer(client, request))
    with pytest.raises(WrongImages):
        checked(changed(request, size=(72, 64)), answer(client, request))


# -- ADetailer -----------------------------------------------------------------------------------------------


def face(folder: Path, found: bool = True) -> Picture:
    path = folder / f"face-{found}.png"
    image = Image.fromarray(astronaut()[:256, 96:352]) if found else Image.new("RGB", (256, 256), "grey")
    path.write_bytes(infotext.to_png(image, "a person\nSteps: 20, Sampler: Euler, Seed: 5, Size: 256x256"))
    return Picture(
        path=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        seed=5,
        index=1,
        stage="txt2img",
        width=256,
        height=256,
    )


def detailed(server: EmbeddedWebUI, picture: Picture, **extra: Any) -> Request:
    item = item_for(
        server,
        {
            "txt2img": {"prompt": "a person", "steps": 4, "seed": 5, "sampler_name": "Euler"},
            "adetailer": [{"ad_model": "mediapipe_face_full", "extra": extra}],
        },
        [picture],
    )
    (request,) = ADETAILER.requests(item.steps[-1], item)
    return request


def test_adetailer_that_acted_keeps_both_histories(server: EmbeddedWebUI, run: Any, tmp_path: Path) -> None:
    (picture,) = run(detailed(server, face(tmp_path)))
    assert picture.note == ""
    text = infotext.read(Path(picture.path))
    assert text is not None
    assert text.startswith("a person\nSteps: 20, Sampler: Euler, Seed: 5, Size: 256x256")
    settings_said = infotext.parse(text).settings
    assert settings_said["ADetailer model"] == "mediapipe_face_full"
    assert settings_said["Size"] == "256x256", "not ADetailer's own 128x128"


# -- what is written -----------------------------------------------------------------------------------------


def test_the_infotext_and_the_history_stand_with_the_picture(server: EmbeddedWebUI, run: Any, home: Path) -> None:
    encoded = base64.b64encode(os.urandom(3000)).decode()
    request = request_for(server)
    request = changed(request, payload=request.payload | {"comments": {"control": encoded}})
    (picture,) = run(request)
    path = Path(picture.path)
    assert path.is_relative_to(home)
    text = infotext.read(path)
    assert text is not None
    assert infotext.parse(text).prompt == "a boat"
    assert infotext.parse(text).settings["Seed"] == "1"
    said = json.loads(picture.sidecar.read_text())
    assert said["request"]["payload"]["seed"] == 1
    assert said["request"]["payload"]["override_settings"]["sd_model_checkpoint"].startswith("photo")
    assert said["checkpoint"]["name"] == "photo"
    assert said["infotext"] == text
    assert said["webui_version"]
    assert encoded not in picture.sidecar.read_text()
    assert "iVBOR" not in picture.sidecar.read_text()


def test_an_upscaled_picture_tells_where_it_comes_from(server: EmbeddedWebUI, run: Any) -> None:
    (first,) = run(request_for(server))
    item = item_for(server, {"txt2img": {"prompt": "a boat"}, "upscale": {"upscaler": "Lanczos"}}, [first])
    (request,) = UPSCALE.requests(item.steps[-1], item)
    (second,) = run(request)
    assert (second.width, second.height) == (128, 128)
    assert second.checkpoint == "photo"
    text = infotext.read(Path(second.path))
    before = infotext.read(Path(first.path))
    assert text is not None and before is not None
    assert text.startswith(before)
    assert infotext.parse(text).settings["Postprocess upscaler"] == "Lanczos"
    said = second.sidecar.read_text()
    assert json.loads(said)["made_from"]["picture"]["stage"] == "txt2img"
    assert "iVBOR" not in said


def test_a_batch_gives_each_picture_its_own_entry(server: EmbeddedWebUI, run: Any) -> None:
    request = request_for(server, batch_size=2)
    pictures = run(changed(request, seeds=(1, 2)))
    assert [(picture.seed, picture.index) for picture in pictures] == [(1, 1), (2, 2)]
    assert len({picture.sha256 for picture in pictures}) == 2
    for picture in pictures:
        assert f"Seed: {picture.seed}" in str(infotext.read(Path(picture.path)))


def test_kept_is_only_what_is_whole_and_has_its_history(server: EmbeddedWebUI, run: Any) -> None:
    request = request_for(server)
    (picture,) = run(request)
    path, own_run = Path(picture.path), Path(picture.path).parent.name
    assert kept(request, own_run) == [picture]
    assert not kept(request, "another run")
    assert not kept(request_for(server, 2), own_run)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert not kept(request, own_run), "damaged"
    path.unlink()
    assert not kept(request, own_run)
    path.write_bytes(whole)
    picture.sidecar.unlink()
    assert not kept(request, own_run), "killed between picture and history: painted again"


def test_a_picture_file_is_never_half_written(tmp_path: Path) -> None:
    """A process that writes over and over is killed in the middle: what is there is one whole content."""
    path = tmp_path / "picture.png"
    program = (
        "import sys; from pathlib import Path; from store.files import write_whole\n"
        "contents = [bytes([n]) * 3_000_000 for n in range(4)]\n"
        "while True:\n    for content in contents:\n        write_whole(Path(sys.argv[1]), content); print(flush=True)"
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
        assert process.stdout
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert len(set(content)) == 1


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_whole(tmp_path / "a.png", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_jpeg_answer_becomes_the_png_that_its_name_says(server: EmbeddedWebUI, run: Any) -> None:
    server.options.data["samples_format"] = "jpg"
    try:
        (picture,) = run(request_for(server))
    finally:
        server.options.data["samples_format"] = "png"
    with Image.open(io.BytesIO(picture.read())) as image:
        assert image.format == "PNG"
    assert settings().runs in Path(picture.path).parents
