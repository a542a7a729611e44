"""Somebody else's jobs at the WebUI, which nothing of ours may touch."""

from __future__ import annotations

import base64
import io
import threading
from collections import Counter

import requests
from PIL import Image

from tests.night.rig import Night


class Strangers:
    """Somebody else at the WebUI: the same job again and again, each answer compared with the undisturbed one."""

    def __init__(self, night: Night, *, every: float, steps: int = 4) -> None:
        self._night, self._every = night, every
        self._body = {"prompt": "a dog", "steps": steps, "width": 64, "height": 64, "seed": 77, "sampler_name": "Euler"}
        self._body["override_settings"] = {"sd_model_checkpoint": "photo.safetensors"}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self.outcomes: Counter[str] = Counter()

    def __enter__(self) -> Strangers:
        self._undisturbed = self.ask()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(60)

    def ask(self) -> bytes:
        """The pixels of one job of theirs."""
        answer = requests.post(f"{self._night.webui.url}/sdapi/v1/txt2img", json=self._body, timeout=60)
        answer.raise_for_status()
        with Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0]))) as image:
            return image.convert("RGB").tobytes()

    def _live(self) -> None:
        while not self._ends.wait(self._every):
            life = self._night.webui
            try:
                came = "whole" if self.ask() == self._undisturbed else "touched"
            except (requests.RequestException, IndexError):
                came = "unanswered"
            if self._night.webui_is_away or life is not self._night.webui:
                came = "lost with the WebUI"  # none of our runs' doing
            self.outcomes[came] += 1
