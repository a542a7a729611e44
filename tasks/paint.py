"""From an answer to pictures on disk, and nothing believed because of a 200.

Each request is a task run of its own, and its result a small reference to files that are already written whole: a
retried run resumes at the picture that failed, and a crash loses at most the one on the GPU.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

from PIL import Image
from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff

from gpu.request import Picture, Request
from gpu.sender import Answer
from store.files import write_whole
from store.settings import settings
from tasks.status import this_run
from webui import infotext as infotexts
from webui.errors import BrokenImage, WrongCheckpoint, WrongImages, is_transient
from webui.models import Generation

RETRIES = 3
ENCODED = re.compile(r"(data:[\w/+.-]+;base64,)?[A-Za-z0-9+/\s]{256,}={0,2}\s*")  # a picture; no prompt has no comma


def same_request(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """A task's cache key: this flow run and everything that decides the pixels. A retry of the run finds it."""
    return f"{context.task_run.flow_run_id}-{parameters['request'].digest}"


def is_retryable(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether another try may succeed; never for what the WebUI refused."""
    try:
        state.result()
    except Exception as error:
        return is_transient(error)
    return False


RETRYING: dict[str, Any] = {
    "retries": RETRIES,
    "retry_delay_seconds": exponential_backoff(settings().retry_backoff),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_retryable,
}
PAINTING: dict[str, Any] = RETRYING | {
    "task_run_name": "{request.title}",
    "cache_key_fn": same_request,
    "persist_result": True,
    "result_serializer": "json",
}


def place(request: Request, number: int, run: str | None = None) -> Path:
    """Where the ``number``-th picture (from 0) of a request lies: its name says what decides it."""
    run = run or str(this_run().id)
    name = f"{request.stage}-{request.first + number:04}-{request.seeds[number]}-{request.digest[:8]}.png"
    return settings().runs / run / name


def is_painted(request: Request, run: str) -> bool:
    """Whether all of a request's pictures are on disk, so that a retried ``run`` need not send it."""
    return all(place(request, number, run).with_suffix(".json").exists() for number in range(len(request.seeds)))


def checked(request: Request, generation: Generation) -> list[bytes]:
    """The pictures of an answer, when they are what was asked for.

    Raises:
        WrongCheckpoint, WrongImages, BrokenImage: they are not.
    """
    info = generation.info
    if request.checkpoint is not None and not request.checkpoint.painted(info):
        raise WrongCheckpoint(
            f"{request.title} asked for {request.checkpoint.title}, but {info.sd_model_name} "
            f"[{info.sd_model_hash}] painted it. Somebody switched the model at the WebUI, or its list is out of date"
        )
    wanted, came = len(request.seeds), len(generation.images)
    if came < wanted or (came > wanted and not _adds_pictures(request)):
        raise WrongImages(f"{request.title} asked for {wanted} pictures, {came} came back")
    if tuple(info.all_seeds[:wanted]) != request.seeds:
        raise WrongImages(f"{request.title} asked for seeds {request.seeds}, {info.all_seeds} came back")
    for content in generation.images[:wanted]:
        size = _size(request, content)
        # Hires fix and upscalers may round down to the multiple of 8 that a latent has.
        rounded = tuple(side // 8 * 8 for side in request.size)
        if size not in (request.size, rounded) and "script_name" not in request.payload:
            raise WrongImages(f"{request.title} asked for {request.size} pixels, {size} came back")
    return generation.images[:wanted]


def _adds_pictures(request: Request) -> bool:
    """A selectable script may send what it likes, and others, such as ControlNet, their maps behind the pictures."""
    scripts = {str(name).lower() for name in request.payload.get("alwayson_scripts", {})}
    return "script_name" in request.payload or bool(scripts - {"adetailer"})


def _size(request: Request, content: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return image.size
    except Exception as error:
        raise BrokenImage(f"{request.title} came back broken ({error}): {len(content)} bytes") from error


def write(answer: Answer, number: int, content: bytes, *, infotext: str, note: str) -> Picture:
    """Write the ``number``-th picture (from 0) of an answer, with its infotext, and beside it all that made it."""
    request, info = answer.request, answer.generation.info
    if infotexts.read(content) != infotext:
        with Image.open(io.BytesIO(content)) as image:
            content = infotexts.to_png(image, infotext)
    width, height = _size(request, content)
    path = write_whole(place(request, number), content)
    picture = Picture(
        path=str(path),
        sha256=hashlib.sha256(content).hexdigest(),
        seed=request.seeds[number],
        index=request.first + number,
        stage=request.stage,
        width=width,
        height=height,
        checkpoint=info.sd_model_name or (request.init.checkpoint if request.init else ""),
        seconds=round(answer.seconds, 3),
        note=note,
    )
    # Last, because is_painted takes it as the sign that the picture is whole.
    write_whole(picture.sidecar, json.dumps(_provenance(answer, picture, infotext), indent=1).encode())
    return picture


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
