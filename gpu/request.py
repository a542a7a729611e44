"""One request to the WebUI, complete in itself.

Every request names its checkpoint, VAE, CLIP skip and seeds: an interleaved stranger cannot change the model
under it, and a retry repeats it exactly.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from store.inputs import is_reference, stored
from store.picture import Picture
from webui.models import Checkpoint

SWITCH = "checkpoint"  # the stage of a request that only has a checkpoint loaded


# The least that a WebUI can be asked to paint.
ONE_STEP: dict[str, Any] = {"prompt": "", "steps": 1, "width": 64, "height": 64, "seed": 1, "batch_size": 1}
ONE_STEP |= {"sampler_name": "Euler", "scheduler": "Automatic"}


class Request(BaseModel):
    """What one call asks of the WebUI: ``len(seeds)`` pictures of one stage.

    ``first`` is the number of the first picture, from 1, of ``of`` in the stage; ``size`` the width and height in
    pixels that must come back (None: not known). ``init`` and ``mask`` are files, read when the request is sent.
    ``must_change``: what comes back must not be the init picture. ``job`` names the job where there are several;
    ``templates`` has the template of each prompt that was drawn from one.
    """

    model_config = ConfigDict(frozen=True)

    stage: str
    endpoint: Literal["txt2img", "img2img", "extra-single-image"]
    first: int
    of: int
    seeds: tuple[int, ...]
    size: tuple[int, int] | None
    payload: dict[str, Any]
    checkpoint: Checkpoint | None = None
    init: Picture | None = None
    mask: str | None = None
    must_change: bool = False
    job: str = ""
    templates: dict[str, str] = {}

    @property
    def title(self) -> str:
        """How it reads in the Prefect UI: ``txt2img 2/4 · seed 1235``, in a batch with the job's name before it."""
        last = self.first + len(self.seeds) - 1
        of = f"{self.job} · " if self.job else ""
        if last == self.first:
            return f"{of}{self.stage} {self.first}/{self.of} · seed {self.seeds[0]}"
        return f"{of}{self.stage} {self.first}–{last}/{self.of} · seeds {self.seeds[0]}–{self.seeds[-1]}"

    @property
    def indexes(self) -> range:
        """The numbers of its pictures in the stage, from 1."""
        return range(self.first, self.first + len(self.seeds))

    @cached_property
    def digest(self) -> str:
        """What makes two requests the same: everything that decides the pixels, and the picture's number."""
        deciding = {
            "endpoint": self.endpoint,
            "first": self.first,
            "stage": self.stage,
            "payload": self.payload,
            "init": self.init.sha256 if self.init else None,
            "mask": self.mask,
        }
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def is_upscale(self) -> bool:
        """A WebUI takes no task id for it, tells no progress of it, and it cannot be interrupted."""
        return self.endpoint == "extra-single-image"

    @property
    def passes(self) -> tuple[float, ...]:
        """How the work is shared out over the passes that the WebUI's job count may come to: the picture, then each
        one of ADetailer that finds something. With ``skip_img2img`` no time goes into the picture."""
        scripts = {str(name).lower(): script for name, script in self.payload.get("alwayson_scripts", {}).items()}
        args = scripts.get("adetailer", {}).get("args", [])
        return (0.0 if args[:2] == [True, True] else 1.0, *[1.0] * sum(isinstance(one, dict) for one in args))

    def body(self, task_id: str) -> dict[str, Any]:
        """The JSON to post: the payload with its files read in, under ``task_id``."""
        body = _with_files(self.payload)
        if self.is_upscale:
            return body if self.init is None else body | {"image": _encoded(self.init.read())}
        body["force_task_id"] = task_id
        if self.init is not None:
            body["init_images"] = [_encoded(self.init.read())]
        if self.mask is not None:
            body["mask"] = _encoded(stored(self.mask).read_bytes())
        return body


def load_request(checkpoint: Checkpoint, overrides: dict[str, Any]) -> Request:
    """One step at 64 × 64 under the settings ``overrides``, which name ``checkpoint``: what has a WebUI load it."""
    payload = ONE_STEP | {"override_settings": overrides, "override_settings_restore_afterwards": False}
    fields = {"stage": SWITCH, "endpoint": "txt2img", "first": 1, "of": 1, "seeds": (1,), "size": (64, 64)}
    return Request.model_validate({**fields, "payload": payload, "checkpoint": checkpoint})


def _with_files(value: Any) -> Any:
    """A payload with the store's files in place of the references to them."""
    if isinstance(value, dict):
        return {name: _with_files(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_files(inner) for inner in value]
    return _encoded(stored(value).read_bytes()) if isinstance(value, str) and is_reference(value) else value


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
