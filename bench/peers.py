"""The peer that does nothing else: a loop of HTTP requests, one picture after the other."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import requests


def picture(steps: int, *, seed: int = 1, side: int = 64, checkpoint: str = "photo") -> dict[str, Any]:
    """A txt2img payload of the plainest kind."""
    return {
        "prompt": "a lighthouse",
        "sampler_name": "Euler",
        "steps": steps,
        "width": side,
        "height": side,
        "seed": seed,
        "override_settings": {"sd_model_checkpoint": checkpoint},
        "override_settings_restore_afterwards": False,
        "save_images": False,
    }


class BareLoop:
    """Posts to the WebUI at ``url``; with a folder it also saves what comes back."""

    def __init__(self, url: str, folder: Path | None = None) -> None:
        self._url = url
        self._session = requests.Session()
        self._folder = folder
        self._sent = 0

    def paint(self, payload: dict[str, Any]) -> None:
        """One picture; decoded and written where there is a folder, before the next one is asked for."""
        self._sent += 1
        # Each request counts as a run of its own, as in a script that is called once for each job.
        task_id = f"task(bare-{self._sent:08x}-loop)"
        answer = self._session.post(
            f"{self._url}/sdapi/v1/txt2img", json=payload | {"force_task_id": task_id}, timeout=600
        )
        answer.raise_for_status()
        if self._folder is not None:
            content = base64.b64decode(answer.json()["images"][0])
            (self._folder / f"{self._sent:04}.png").write_bytes(content)
