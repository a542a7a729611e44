"""What is known of one picture of the gallery: from the JSON beside it, else from its own infotext."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from webui import infotext

LARGEST_JSON = 16 * 1024 * 1024  # bytes; ours have a few thousand


@dataclass(frozen=True)
class Made:
    """A picture of the gallery as the index has it.

    Attributes:
        path: below the gallery, with slashes.
        made: seconds since the epoch: when the file was written. day: the same as a local date, ``2026-11-24``.
        job: its job's name. run: the flow run's id. Both empty where no JSON says them.
        stage: the last one; ``grid`` for a sweep's sheet.
        version: tells one content of the file from another; its modification time in nanoseconds.
    """

    path: str
    made: float
    day: str
    job: str = ""
    checkpoint: str = ""
    prompt: str = ""
    seed: int | None = None
    stage: str = ""
    width: int = 0
    height: int = 0
    run: str = ""
    star: bool = False
    rejected: bool = False
    version: int = 0

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.rpartition("/")[2].removesuffix(".png")


def read(file: Path, path: str, *, star: bool, rejected: bool) -> Made:
    """What is known of a picture; of one that tells nothing, where it is and when it was written.

    Raises:
        OSError: it is gone.
    """
    stat = file.stat()
    when = datetime.fromtimestamp(stat.st_mtime).astimezone()
    about = beside(file)
    picture, cells = about.get("picture"), about.get("cells")
    if isinstance(picture, dict) or isinstance(cells, list):
        said = infotext.parse(_text(about.get("infotext")))
        own: dict[str, Any] = picture if isinstance(picture, dict) else {"stage": "grid"}
        prompt = said.prompt or next(filter(None, map(_prompt, history(about))), "")
    else:
        own, prompt = _of_file(file)
    return Made(
        path=path,
        made=stat.st_mtime,
        day=f"{when:%Y-%m-%d}",
        job=_text(about.get("job")),
        checkpoint=_text(own.get("checkpoint")),
        prompt=prompt,
        seed=_number(own.get("seed")),
        stage=_text(own.get("stage")),
        width=_number(own.get("width")) or 0,
        height=_number(own.get("height")) or 0,
        run=_text(about.get("flow_run")),
        star=star,
        rejected=rejected,
        version=stat.st_mtime_ns,
    )


def beside(file: Path) -> dict[str, Any]:
    """The JSON beside a picture; empty where there is none that can be read."""
    with suppress(OSError, ValueError, RecursionError):
        path = file.with_suffix(".json")
        if path.stat().st_size <= LARGEST_JSON:
            found = json.loads(content := path.read_bytes())
            if b"\\ud" in content.lower():  # maybe half a surrogate pair, which UTF-8 can't write
                found = json.loads(json.dumps(found, ensure_ascii=False).encode(errors="replace"))
            return found if isinstance(found, dict) else {}
    return {}


def history(about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The JSON of each stage, the last one first."""
    stage: Any = about
    while isinstance(stage, dict):
        yield stage
        stage = stage.get("made_from")


def _prompt(stage: dict[str, Any]) -> str:
    request = stage.get("request")
    payload = request.get("payload") if isinstance(request, dict) else None
    return _text(payload.get("prompt")) if isinstance(payload, dict) else ""


def _of_file(file: Path) -> tuple[dict[str, Any], str]:
    """What a PNG's header and infotext say."""
    try:
        with Image.open(file) as image:
            said = infotext.parse(infotext.read(image) or "")
            own: dict[str, Any] = {"width": image.width, "height": image.height}
    except Exception:  # Pillow's decoders raise all kinds
        return {}, ""
    seed = said.settings.get("Seed", "")
    own |= {"checkpoint": said.settings.get("Model", ""), "seed": int(seed[:18]) if seed.isdecimal() else None}
    return own, said.prompt if said.settings else ""


def _text(value: Any) -> str:
    """A value as text that UTF-8 can write."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    """A whole number of at most 63 bits, as a database takes it."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None
