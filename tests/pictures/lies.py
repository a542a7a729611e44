"""Each way in which a WebUI answers 200 with something else than was asked, done to Darkroom."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from PIL import Image
from prefect import flow
from skimage.data import astronaut

from gpu.request import Request
from gpu.sender import Sender
from store.picture import Picture
from tasks.inventory import Inventory
from tasks.preflight import JobRefused
from tests.requesting import PATIENCE, arm, item_for, request_for
from tests.waiting import until
from webui import infotext
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI
from webui.errors import (
    BlankPicture,
    BrokenImage,
    Interrupted,
    Skipped,
    WithoutEffect,
    WrongCheckpoint,
    WrongImages,
)

WORDS: dict[str, Any] = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}
FACES = {"ad_model": "mediapipe_face_full"}
PIXELS = "the pixels"
CLAIM = "what the answer says of itself"
LISTS = "the WebUI's own lists, before the run"


@dataclass(frozen=True)
class Rig:
    """An embedded WebUI, and the stages that paint at it."""

    server: EmbeddedWebUI
    client: WebUIClient
    folder: Path

    def paint(self, request: Request) -> list[Picture]:
        """As a stage's task does, in a flow run of its own."""
        item = item_for(self.server, {"txt2img": WORDS, "img2img": {}, "adetailer": [FACES], "upscale": LANCZOS}, [])
        [stage] = [step.stage for step in item.steps if step.stage.name == request.stage]

        @flow
        def painting(request: Any) -> list[Picture]:
            with Sender(self.client, run="r" * 8) as sender:
                return stage.paint(request, sender)

        return painting(request)

    def request(self, job: dict[str, Any], *pictures: Picture) -> Request:
        """What the last stage of a job asks for the first of its pictures."""
        item = item_for(self.server, {"txt2img": WORDS} | job, list(pictures))
        return item.steps[-1].stage.requests(item.steps[-1], item)[0]

    def look_up(self, job: dict[str, Any]) -> None:
        """Raise what a run raises before it paints, where the job names what the WebUI lacks."""
        item, inventory = item_for(self.server, {"txt2img": WORDS} | job, []), Inventory(self.client)
        for step in item.steps:
            step.stage.look_up(step, inventory)
        if inventory.problems:
            raise JobRefused("; ".join(inventory.problems))

    def picture(self, image: Image.Image, text: str = "") -> Picture:
        """A picture on disk, to start from."""
        content = infotext.to_png(image, text)
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.folder / f"{sha256}.png"
        path.write_bytes(content)
        size = {"width": image.width, "height": image.height}
        return Picture(path=str(path), sha256=sha256, seed=5, index=1, stage="txt2img", **size)

    def face(self) -> Picture:
        return self.picture(Image.fromarray(astronaut()[:256, 96:352]))

    def texture(self) -> Picture:
        """A picture on which no face is found."""
        return self.picture(Image.effect_noise((256, 256), 40).convert("RGB"))

    def meanwhile(self, path: str) -> None:
        """Call a route of the WebUI while the next job samples."""
        self.server.steps.step_time = 0.1

        def call() -> None:
            until("it samples", lambda: self.server.state.sampling_step > 0 and self.server.state.job_count > 0)
            requests.post(f"{self.server.url}{path}", timeout=PATIENCE)

        threading.Thread(target=call, daemon=True).start()

    def select_during_a_load(self, of: str, other: str) -> None:
        """Have somebody select another checkpoint while the next load of one is under way."""
        hang, faults = arm(self.server, kind="load hang", asked=of), f"{self.server.url}/faults"

        def select() -> None:
            until("it loads", lambda: requests.get(faults, timeout=PATIENCE).json()[0]["fired"])
            requests.post(f"{self.server.url}/sdapi/v1/options", json={"sd_model_checkpoint": other}, timeout=PATIENCE)
            requests.delete(f"{faults}/{hang}", timeout=PATIENCE)

        threading.Thread(target=select, daemon=True).start()


LANCZOS = {"upscaler": "Lanczos"}


@dataclass(frozen=True)
class Lie:
    """One way to lie.

    Attributes:
        tells: what tells it.
        then: what Darkroom does.
        error: what is raised in the place of a picture.
    """

    what: str
    tells: str
    then: str
    error: type[Exception]
    lie: Callable[[Rig], Any]


PAINTED_AGAIN = "it is painted again, three times at most"
FAILS = "the picture fails, with what to do about it"
REFUSED = "the job is refused, with the nearest names"


def changed(request: Request, payload: dict[str, Any] | None = None, **changes: Any) -> Request:
    """A request whose payload is not what the rest of it says: the WebUI did as it liked."""
    if payload is not None:
        changes["payload"] = request.payload | payload
    return Request.model_validate(request.model_dump() | changes)


def _armed(rig: Rig, request: Request, **fault: Any) -> list[Picture]:
    arm(rig.server, **fault)
    return rig.paint(request)


def _another_model(rig: Rig) -> Any:
    rig.client.txt2img(request_for(rig.server).payload | {"override_settings": {"sd_model_checkpoint": "ink"}})
    return _armed(rig, request_for(rig.server), kind="wrong model", asked="photo*", loads="oil.safetensors")


def _unknown_model(rig: Rig) -> Any:
    rig.client.txt2img(request_for(rig.server).payload | {"override_settings": {"sd_model_checkpoint": "ink"}})
    return rig.paint(changed(request_for(rig.server), {"override_settings": {"sd_model_checkpoint": "photos"}}))


def _selected_during_the_load(rig: Rig) -> Any:
    rig.client.txt2img(request_for(rig.server).payload | {"override_settings": {"sd_model_checkpoint": "ink"}})
    rig.select_during_a_load("photo*", "oil")
    return rig.paint(request_for(rig.server))


def _pressed(button: str) -> Callable[[Rig], Any]:
    def lie(rig: Rig) -> Any:
        rig.meanwhile(f"/sdapi/v1/{button}")
        return rig.paint(request_for(rig.server, steps=20))

    return lie


def _image(how: str) -> Callable[[Rig], Any]:
    return lambda rig: _armed(rig, request_for(rig.server), kind="image", how=how)


def _payload(payload: dict[str, Any], **changes: Any) -> Callable[[Rig], Any]:
    return lambda rig: rig.paint(changed(request_for(rig.server), payload, **changes))


def _named(job: dict[str, Any]) -> Callable[[Rig], Any]:
    return lambda rig: rig.look_up(job)


def _dropped_by_adetailer(rig: Rig) -> Any:
    return rig.paint(rig.request({"adetailer": [FACES | {"extra": {"ad_mask_k_largest": 1}}]}, rig.face()))


def _nothing_found(rig: Rig) -> Any:
    return rig.paint(rig.request({"adetailer": [FACES | {"required": True}]}, rig.texture()))


def _unknown_detector(rig: Rig) -> Any:
    return rig.paint(rig.request({"adetailer": [{"ad_model": "face_yolov8n.pt", "required": True}]}, rig.face()))


def _upscaler(name: str) -> Callable[[Rig], Any]:
    def lie(rig: Rig) -> Any:
        request = rig.request({"upscale": {"upscaler": name}}, rig.texture())
        return _armed(rig, request, kind="missing weights", upscaler=name)

    return lie


LIES = [
    Lie("Another checkpoint than the one asked for was loaded", CLAIM, PAINTED_AGAIN, WrongCheckpoint, _another_model),
    Lie("Somebody selects another checkpoint while ours is loaded: it paints under our name and hash",
        "`sd_checkpoint_hash` of the WebUI's options, while it samples and right after the answer", PAINTED_AGAIN,
        WrongCheckpoint, _selected_during_the_load),
    Lie("An unknown checkpoint in a request is ignored", CLAIM, PAINTED_AGAIN, WrongCheckpoint, _unknown_model),
    Lie("An unknown sampler becomes another", LISTS, REFUSED, JobRefused,
        _named({"txt2img": WORDS | {"sampler_name": "euler a"}})),
    Lie("A sampler's listed alias becomes another", LISTS, REFUSED, JobRefused,
        _named({"txt2img": WORDS | {"sampler_name": "k_euler"}})),
    Lie("An unknown schedule type becomes Automatic", LISTS, REFUSED, JobRefused,
        _named({"txt2img": WORDS | {"scheduler": "Karrass"}})),
    Lie("An unknown style is ignored", LISTS, REFUSED, JobRefused,
        _named({"txt2img": WORDS | {"styles": ["No such style"]}})),
    Lie("An unknown LoRA is ignored", LISTS, REFUSED, JobRefused,
        _named({"txt2img": WORDS | {"prompt": "a boat <lora:nowhere:1>"}})),
    Lie("A LoRA in the negative prompt, unknown, is ignored", LISTS, REFUSED, JobRefused,
        _named({"txt2img": WORDS | {"negative_prompt": "<lora:nowhere:1>"}})),
    Lie("An unknown field is ignored", "the WebUI's own schema, before the run", REFUSED, JobRefused,
        _named({"txt2img": WORDS | {"extra": {"tilling": True}}})),
    Lie("ADetailer's own checkpoint, unknown, is ignored", LISTS, REFUSED, JobRefused,
        _named({"adetailer": [FACES | {"extra": {"ad_use_checkpoint": True, "ad_checkpoint": "foto"}}]})),
    Lie("ADetailer's own sampler, unknown, is ignored", LISTS, REFUSED, JobRefused,
        _named({"adetailer": [FACES | {"extra": {"ad_use_sampler": True, "ad_sampler": "euler"}}]})),
    Lie("ADetailer's own VAE, unknown, is ignored", LISTS, REFUSED, JobRefused,
        _named({"adetailer": [FACES | {"extra": {"ad_use_vae": True, "ad_vae": "none.pt"}}]})),
    Lie("Interrupt: a half-denoised picture with an ordinary infotext", "the flag in `/sdapi/v1/progress`, looked "
        "at while it is painted and right after the answer", PAINTED_AGAIN, Interrupted, _pressed("interrupt")),
    Lie("Skip: the same", "the same", "the picture is recorded as skipped, and the run goes on with the next",
        Skipped, _pressed("skip")),
    Lie("ADetailer does not know its model, and answers the picture as it was",
        f"{LISTS}; {PIXELS}", f"{REFUSED}; a note, or a failure where the pass is required", WithoutEffect,
        _unknown_detector),
    Lie("ADetailer rejects its arguments and repaints the whole picture",
        "its own schema, before the run; what the answer says of itself", REFUSED, WithoutEffect,
        _dropped_by_adetailer),
    Lie("ADetailer finds nothing, and the infotext names its model all the same", PIXELS,
        "a note at the picture and the infotext without it; a failure where the pass is required", WithoutEffect,
        _nothing_found),
    Lie("More pictures than asked for", "their number", FAILS, WrongImages, _payload({"n_iter": 2})),
    Lie("Fewer pictures than asked for", "their number", FAILS, WrongImages, _payload({}, seeds=(1, 2))),
    Lie("Another size", PIXELS, FAILS, WrongImages, _payload({"width": 128})),
    Lie("Another seed", CLAIM, FAILS, WrongImages, _payload({"seed": 9})),
    Lie("A picture that ends half-way", "it is decoded to its end", PAINTED_AGAIN, BrokenImage, _image("truncated")),
    Lie("A damaged picture", "it is decoded to its end", PAINTED_AGAIN, BrokenImage, _image("corrupt")),
    Lie("A small picture that claims 100,000 × 100,000 pixels", "its header, before it is decoded", PAINTED_AGAIN,
        BrokenImage, _image("huge")),
    Lie("A black picture (NaNs)", PIXELS, FAILS, BlankPicture, _image("black")),
    Lie("A picture of one colour", PIXELS, FAILS, BlankPicture, _image("uniform")),
    Lie("An upscaler that can't be loaded only resizes", "the pixels are those of Pillow's Lanczos", FAILS,
        WithoutEffect, _upscaler("R-ESRGAN 4x+")),
]  # fmt: skip
