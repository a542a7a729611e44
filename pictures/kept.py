"""A run's pictures on disk: each written whole, with a JSON beside it that holds its hash and all that made it.

These files say what is done, so a retried run resumes at the picture that failed, and a crash loses at most the one
on the GPU.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from gpu.request import Request
from gpu.sender import Answer
from pictures.checks import Painted
from store.files import write_whole
from store.picture import Picture
from store.settings import settings
from webui import infotext as infotexts

ENCODED = re.compile(r"(data:[\w/+.-]+;base64,)?[A-Za-z0-9+/\s]{256,}={0,2}\s*")  # a picture; no prompt has no comma


def place(request: Request, number: int, run: str) -> Path:
    """Where the ``number``-th picture (from 0) of a request lies: its name says what decides it."""
    name = f"{request.stage}-{request.first + number:04}-{request.seeds[number]}-{request.digest[:8]}.png"
    return settings().runs / run / name


def kept(request: Request, run: str) -> list[Picture]:
    """A request's pictures as an earlier attempt of ``run`` left them; none where one is missing or damaged."""
    pictures = []
    for number in range(len(request.seeds)):
        path = place(request, number, run)
        try:
            about = json.loads(path.with_suffix(".json").read_bytes())
            picture = Picture(path=str(path), **about["picture"])
            picture.read()
        except (OSError, ValueError, KeyError, TypeError):
            return []
        pictures.append(picture)
    return pictures


def write(answer: Answer, number: int, painted: Painted, *, run: str, infotext: str, note: str) -> Picture:
    """Write the ``number``-th picture (from 0) of an answer, with its infotext, and beside it all that made it."""
    request, info, content = answer.request, answer.generation.info, painted.content
    infotext = _with_templates(infotext, request)
    if infotexts.read(painted.image) != infotext:
        content = infotexts.to_png(painted.image, infotext)
    path = write_whole(place(request, number, run), content)
    picture = Picture(
        path=str(path),
        sha256=hashlib.sha256(content).hexdigest(),
        seed=request.seeds[number],
        index=request.first + number,
        stage=request.stage,
        width=painted.image.width,
        height=painted.image.height,
        checkpoint=info.sd_model_name or (request.init.checkpoint if request.init else ""),
        seconds=round(answer.seconds, 3),
        note=note,
    )
    # Last, because it says that the picture is whole.
    write_whole(picture.sidecar, json.dumps(_provenance(answer, picture, infotext), indent=1).encode())
    return picture


def _with_templates(infotext: str, request: Request) -> str:
    """The infotext with the templates of drawn prompts, as the WebUI's extension for dynamic prompts names them."""
    for field, name in (("prompt", "Template"), ("negative_prompt", "Negative Template")):
        template = request.templates.get(request.payload.get(field, ""))
        if infotext and template and f", {name}: " not in infotext:  # what a picture is made from may say it
            infotext += f", {name}: {infotexts.quote(template)}"
    return infotext


def _provenance(answer: Answer, picture: Picture, infotext: str) -> dict[str, Any]:
    """All that made a picture; without the encoded pictures, and without anything secret."""
    request, info = answer.request, answer.generation.info
    return {
        "picture": picture.model_dump(exclude={"path"}),
        "infotext": infotext,
        "request": {
            "endpoint": request.endpoint,
            "payload": _without_encoded(request.payload),
            "task_id": answer.task_id,
        },
        "templates": request.templates,
        "init": request.init.sha256 if request.init else None,
        "mask": request.mask,
        "checkpoint": {"name": info.sd_model_name, "hash": info.sd_model_hash},
        "webui_version": info.version,
        "seconds": answer.seconds,
        "made_from": _history(request.init),
    }


def _without_encoded(value: Any) -> Any:
    """A payload to read: pictures that a form's extra fields carry (ControlNet's) give way to their hash."""
    if isinstance(value, dict):
        return {name: _without_encoded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_encoded(inner) for inner in value]
    if isinstance(value, str) and ENCODED.fullmatch(value):
        return f"<{len(value)} characters, sha256 {hashlib.sha256(value.encode()).hexdigest()}>"
    return value


def _history(init: Picture | None) -> dict[str, Any] | None:
    """What stands beside the picture that this one was made from; a given file has no history."""
    if init is None or not init.sidecar.exists():
        return None
    return dict(json.loads(init.sidecar.read_text()))
