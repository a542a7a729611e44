"""From an answer to pictures on disk, and nothing believed because of a 200.

Each request is a task run of its own. Its pictures are written whole, each with a JSON beside it that holds its hash:
these files say what is done, so a retried run resumes at the picture that failed, and a crash loses at most the one
on the GPU.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from pathlib import Path
from typing import Any

from PIL import Image
from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
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
WRITABLE_WITHIN = 300.0  # seconds for which a painted picture waits for a folder that cannot be written
WRITE_AGAIN_EVERY = 1.0  # seconds
ENCODED = re.compile(r"(data:[\w/+.-]+;base64,)?[A-Za-z0-9+/\s]{256,}={0,2}\s*")  # a picture; no prompt has no comma


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
    "cache_policy": NO_CACHE,  # Prefect's cache knows nothing of the files; see kept()
    "persist_result": False,
}


def place(request: Request, number: int, run: str | None = None) -> Path:
    """Where the ``number``-th picture (from 0) of a request lies: its name says what decides it."""
    run = run or str(this_run().id)
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


def write_patiently(answer: Answer, number: int, content: bytes, *, infotext: str, note: str) -> Picture:
    """As :func:`write`; where the folder cannot be written just now, nothing that was painted is lost at once.

    Raises:
        OSError: it could not be written within five minutes.
    """
    deadline, told = time.monotonic() + WRITABLE_WITHIN, False
    while True:
        try:
            return write(answer, number, content, infotext=infotext, note=note)
        except OSError as error:
            said = f"{answer.request.title} is painted and cannot be written into {settings().runs}: {error}"
            if time.monotonic() > deadline:
                raise OSError(f"{said}. Make room or mend the folder, then Retry") from error
            if not told:
                get_run_logger().warning("waiting for %d s at most: %s", WRITABLE_WITHIN, said)
                told = True
            time.sleep(WRITE_AGAIN_EVERY)


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
    # Last, because it says that the picture is whole.
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
