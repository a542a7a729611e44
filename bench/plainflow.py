"""The peer on a stock worker: the flow that anybody would write first. One request, one file, no more.

It does far less than ours (no preflight, no checks, no progress, no gallery), so that all that is compared is how a
run gets to the GPU.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import requests
from prefect import flow
from prefect.runtime import flow_run


@flow(name="plain")
def plain(url: str, payload: dict[str, Any], folder: str) -> str:
    """Post ``payload`` to the WebUI at ``url`` and write the picture into ``folder``."""
    run = str(flow_run.get_id())
    answer = requests.post(
        f"{url}/sdapi/v1/txt2img", json=payload | {"force_task_id": f"task(plain-{run[:8]}-0)"}, timeout=600
    )
    answer.raise_for_status()
    path = Path(folder) / f"{run}.png"
    path.write_bytes(base64.b64decode(answer.json()["images"][0]))
    return str(path)


@flow(name="nothing")
def nothing() -> None:
    """A run that needs no GPU: for what only starting and ending runs costs."""
