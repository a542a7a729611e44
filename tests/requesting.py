"""Requests and waiting, for the tests of this room."""

from __future__ import annotations

import threading
from typing import Any

import requests

from flows.job import GenerationJob
from gpu.request import Request
from store.picture import Picture
from tasks.sampling import fixed_fields
from tasks.stage import Item
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI
from webui.models import Checkpoint

PATIENCE = 60  # seconds for what should take a moment: the machine may be busy


def checkpoint_of(server: EmbeddedWebUI, name: str = "photo") -> Checkpoint:
    return next(one for one in WebUIClient(server.url).checkpoints() if one.is_called(name))


def request_for(server: EmbeddedWebUI, number: int = 1, of: int = 4, **changes: Any) -> Request:
    """One small picture; ``changes`` of the payload."""
    checkpoint = checkpoint_of(server)
    size = (changes.pop("width", 64), changes.pop("height", 64))
    fixed = fixed_fields(checkpoint, [], 1, forge=server.engine.settings.forge)
    payload = {"prompt": "a boat", "steps": 2, "sampler_name": "Euler", "scheduler": "Automatic", **fixed}
    payload |= {"width": size[0], "height": size[1], "seed": number, "batch_size": 1, **changes}
    return Request(
        stage="txt2img", endpoint="txt2img", first=number, of=of, seeds=(number,), size=size, payload=payload,
        checkpoint=checkpoint,
    )  # fmt: skip


def item_for(server: EmbeddedWebUI, job: dict[str, Any], pictures: list[Picture]) -> Item:
    """A job that is through its preflight and has ``pictures`` so far."""
    made = GenerationJob.model_validate({"checkpoint": "photo", **job})
    names = {step.settings.checkpoint for step in made.steps()}
    forge = server.engine.settings.forge
    return Item(made, made.steps(), {name: checkpoint_of(server, name) for name in names}, forge, pictures)


def painted(server: EmbeddedWebUI) -> list[int]:
    """The seeds that were asked for, in order; strangers' jobs have negative ones."""
    return [body["seed"] for _, _, _, body in server.requests.of("POST", "/sdapi/v1/txt2img") if body]


class Stranger:
    """Somebody at the WebUI's page: a job of theirs, sent in the background."""

    def __init__(self, server: EmbeddedWebUI, seed: int = 77, steps: int = 3, **fields: Any) -> None:
        self.answer: dict[str, Any] = {}
        self.task = f"task(stranger-{seed})"
        body = {"prompt": "a dog", "steps": steps, "width": 64, "height": 64, "seed": seed, "sampler_name": "Euler"}
        self._body = body | {"force_task_id": self.task} | fields
        self._url = f"{server.url}/sdapi/v1/txt2img"
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        self.answer = requests.post(self._url, json=self._body, timeout=PATIENCE).json()

    def done(self, within: float = PATIENCE) -> bool:
        self._thread.join(within)
        return bool(self.answer)

    @property
    def going(self) -> bool:
        return self._thread.is_alive()


def arm(server: EmbeddedWebUI, **fault: Any) -> int:
    answer = requests.post(f"{server.url}/faults", json=fault, timeout=PATIENCE)
    answer.raise_for_status()
    return int(answer.json()["id"])
