"""Requests to an embedded WebUI, as the tests send them."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import requests

from webui.embedded.server import EmbeddedWebUI

PATIENCE = 60.0  # seconds: the machine may be busy with other tests
SMALL = {"prompt": "a cat", "steps": 4, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}


class Talk:
    """Requests to one server."""

    def __init__(self, server: EmbeddedWebUI, pool: ThreadPoolExecutor) -> None:
        self.server = server
        self._pool = pool

    def get(self, path: str, **options: Any) -> Any:
        return requests.get(self.server.url + path, timeout=PATIENCE, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return requests.post(self.server.url + path, json=body, timeout=PATIENCE, **options)

    def generate(self, kind: str = "txt2img", **changes: Any) -> requests.Response:
        return self.post(f"/sdapi/v1/{kind}", {**SMALL, **changes})

    def info(self, kind: str = "txt2img", **changes: Any) -> dict[str, Any]:
        answer = self.generate(kind, **changes)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.json()["info"])

    def in_background(self, kind: str = "txt2img", **changes: Any) -> Future[requests.Response]:
        return self._pool.submit(self.generate, kind, **changes)

    def progress(self) -> dict[str, Any]:
        return self.get("/sdapi/v1/progress?skip_current_image=true").json()

    def task(self, id_task: str, **more: Any) -> dict[str, Any]:
        return self.post("/internal/progress", {"id_task": id_task, **more}).json()
