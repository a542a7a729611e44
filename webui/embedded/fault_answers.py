"""A response held back until the faults have changed it, and the changes."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any, Literal

from PIL import Image

from webui.embedded import images
from webui.embedded.asgi import Message, Send


class HeldAnswer:
    """A response that is held back until the faults are done with it."""

    def __init__(self) -> None:
        self._start: Message = {}
        self._body = b""

    @property
    def given(self) -> bool:
        return bool(self._start)

    async def collect(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")

    def replace(self, status: int, body: Any) -> None:
        self._start = {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", b"application/json")],
        }
        self._body = json.dumps(body).encode()

    def change(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Apply `change` to a JSON object that was answered with 200; leave anything else alone."""
        if not self.given or self._start["status"] != 200:
            return
        said = json.loads(self._body)
        if isinstance(said, dict):
            self._body = json.dumps(change(said)).encode()

    async def deliver(self, send: Send) -> None:
        headers = [(name, value) for name, value in self._start["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(self._body)).encode()))
        await send({**self._start, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


def break_images(
    said: dict[str, Any], how: Literal["truncated", "corrupt", "huge", "black", "uniform"]
) -> dict[str, Any]:
    def broken(encoded: str) -> str:
        data = bytearray(base64.b64decode(encoded))
        if how in ("black", "uniform"):
            image = Image.open(io.BytesIO(data)).convert("RGB")
            one = Image.new("RGB", (1, 1)) if how == "black" else image.resize((1, 1))
            image.paste(one.resize(image.size), (0, 0))
            return images.encode(image)
        middle = len(data) // 2
        if how == "huge":  # width, height and checksum of a PNG's first chunk
            data[16:24] = struct.pack(">II", 100_000, 100_000)
            data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        elif how == "truncated":
            del data[middle:]
        else:
            data[middle : middle + 64] = bytes(byte ^ 0xFF for byte in data[middle : middle + 64])
        return base64.b64encode(data).decode()

    changed = dict(said)
    if isinstance(said.get("images"), list):
        changed["images"] = [broken(image) for image in said["images"]]
    if isinstance(said.get("image"), str):
        changed["image"] = broken(said["image"])
    return changed


def falsify_progress(
    shown: dict[str, dict[str, Any]], asked: str, said: dict[str, Any], how: Literal["stuck", "backwards"]
) -> dict[str, Any]:
    """Progress as the fault has it. An answer that carries no progress (idle, queued) passes as it is."""
    if not said.get("progress"):
        return said
    before = shown.get(asked)
    if before is None:
        shown[asked] = said
    elif how == "stuck":
        return before
    else:
        shown[asked] = {**said, "progress": max(0.0, before["progress"] - 0.1)}
    return shown[asked]
