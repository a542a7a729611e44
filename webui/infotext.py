"""The infotext: what a WebUI writes into a picture's PNG chunk `parameters`, and "PNG Info" reads back.

a lighthouse
Negative prompt: fog
Steps: 20, Sampler: Euler, CFG scale: 7.0, Seed: 1, Size: 512x512, Model: photo
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

CHUNK = "parameters"
_NEGATIVE = "Negative prompt:"
# name: value, where a value that holds a comma, colon or line break is a JSON string
_PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_LEAST_PAIRS = 3  # a last line with fewer is part of the prompt


@dataclass(frozen=True)
class Infotext:
    """A parsed infotext; `settings` in their order, all values as text."""

    prompt: str = ""
    negative_prompt: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def quote(value: Any) -> str:
    text = str(value)
    ambiguous = any(mark in text for mark in ",\n:") or text.startswith('"') or text != text.strip()
    return json.dumps(text, ensure_ascii=False) if ambiguous else text


def unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return text
    return text


def build(prompt: str, negative_prompt: str, settings: Mapping[str, Any]) -> str:
    """The infotext of a picture. Settings that are None are left out."""
    negative = f"\n{_NEGATIVE} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{_said(settings)}".strip()


def extended(text: str, settings: Mapping[str, Any]) -> str:
    """An infotext with further settings at its end, in the place of those that it has under the same name."""
    *lines, last = text.strip().split("\n")
    if len(_PAIR.findall(last)) < _LEAST_PAIRS:
        return f"{text}\n{_said(settings)}".strip()
    left = _PAIR.sub(lambda pair: "" if pair[1] in settings else pair[0], last).strip(", ")
    return "\n".join([*lines, f"{left}, {_said(settings)}"])


def _said(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {quote(value)}" for name, value in settings.items() if value is not None)


def parse(text: str) -> Infotext:
    """Take an infotext apart. Anything is accepted: what is no setting is prompt."""
    *lines, last = text.strip().split("\n")
    pairs = _PAIR.findall(last)
    if len(pairs) < _LEAST_PAIRS:
        lines, pairs = [*lines, last], []
    prompt: list[str] = []
    negative: list[str] = []
    into = prompt
    for line in (line.strip() for line in lines):
        if line.startswith(_NEGATIVE):
            into, line = negative, line[len(_NEGATIVE) :].strip()
        into.append(line)
    settings = {name: unquote(value) for name, value in pairs}
    return Infotext("\n".join(prompt), "\n".join(negative), settings)


def read(picture: Path | bytes | Image.Image) -> str | None:
    """The infotext of a PNG, None if it carries none. Raises OSError if it is no picture."""
    if isinstance(picture, Image.Image):
        text = picture.info.get(CHUNK)
    else:
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as image:
            text = image.info.get(CHUNK)
    return text if isinstance(text, str) else None


def to_png(image: Image.Image, infotext: str | None = None, *, compress_level: int = 4) -> bytes:
    """The picture as PNG bytes with the infotext in its chunk (by default the one it came with)."""
    chunks = PngInfo()
    text = image.info.get(CHUNK) if infotext is None else infotext
    if text:
        chunks.add_text(CHUNK, text)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=chunks, compress_level=compress_level)
    return buffer.getvalue()
