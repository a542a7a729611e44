"""After out of memory: one small request shows whether the WebUI still paints.

Some then answer every request with an error until they are restarted, and a queue would fail to its end. So the run
that met it leaves a mark on disk, and the worker starts no run for that WebUI before the small one was painted.
"""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

from gpu.request import ONE_STEP
from store.files import write_whole
from store.settings import settings
from webui.client import WebUIClient
from webui.errors import WebUIError


def mark(base_url: str) -> None:
    """The WebUI at this address was out of memory just now."""
    write_whole(_mark(base_url), base_url.encode())


def is_marked(base_url: str) -> bool:
    """Whether it was out of memory and has not painted the small picture since; some microseconds."""
    return _mark(base_url).exists()


def try_out(client: WebUIClient) -> str:
    """Send the small request, one step at 64 × 64 with the checkpoint that is loaded, through the WebUI's own queue.

    Returns why it failed; empty: it was painted, and the mark is removed.
    """
    try:
        client.txt2img(ONE_STEP | {"force_task_id": f"task(canary-{uuid.uuid4().hex[:6]})"})
    except WebUIError as error:
        return f"{client.base_url} was out of memory, and a picture of 64×64 fails there too: {error}. Restart it"
    _mark(client.base_url).unlink(missing_ok=True)
    return ""


def _mark(base_url: str) -> Path:
    return settings().home / "out-of-memory" / hashlib.sha256(base_url.encode()).hexdigest()[:16]
