"""Faults on demand: what a real WebUI does on its worst days, armed by a test for the n-th matching request.

Only active with `--faults`. Most faults act on the request as ASGI sees it, so that they hit any route and
need nothing from it; only what happens inside a job (which model is loaded) has a hook there:

    POST /faults          arm one (a JSON object, `kind` says which); answers it with its id
    GET /faults           what is armed, and how often each has matched and fired
    DELETE /faults[/{id}] disarm; a hanging request goes on
    POST /faults/steps    drive the sampler step by step

docs/faults.md has an example of each.
"""

from __future__ import annotations

import asyncio
import base64
import fnmatch
import itertools
import json
import logging
import os
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Annotated, Any, Literal, Protocol

from fastapi import Body, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field, model_validator

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

CRASH_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h: an internal error, told apart from a kill

# Bodies of the WebUI's 500s. Out of memory was not recorded (no GPU there): the shape is that of every
# other 500, error and first words are the source's; NaN is raised by the WebUI itself after the VAE.
LIKE = {
    "out of memory": {
        "error": "OutOfMemoryError",
        "detail": "",
        "body": "",
        "message": "CUDA out of memory. Tried to allocate 2.25 GiB. GPU 0 has a total capacity of 7.79 GiB "
        "of which 1.12 GiB is free.",
    },
    "nan": {
        "error": "NansException",
        "detail": "",
        "body": "",
        "message": "A tensor with all NaNs was produced in VAE. This could be because there's not enough "
        "precision to represent the picture. Try adding --no-half-vae commandline argument to fix this.",
    },
}


class CheckpointFault(ValueError):
    """Raised in the place of a load that was armed to fail."""


class _Fault(BaseModel):
    model_config = ConfigDict(extra="forbid")

    nth: int = Field(1, ge=1, description="the first match that the fault hits, counted from 1")
    times: int | None = Field(1, ge=1, description="how many matches it hits from there; null: all of them")


class _RequestFault(_Fault):
    path: str = Field("/sdapi/v1/*2img", description="the route, with * for any text")
    method: str = Field("*", description="GET, POST, ... or * for any")
    contains: str = Field("", description="text that the request's body must contain, such as a task id")
    when: Literal["before", "after"] = Field("before", description="before the work, or after it is done")

    def matches(self, method: str, path: str, body: bytes) -> bool:
        return (
            fnmatch.fnmatchcase(path, self.path)
            and fnmatch.fnmatchcase(method, self.method.upper())
            and self.contains.encode() in body
        )


class ErrorAnswer(_RequestFault):
    """An error in the place of the answer."""

    kind: Literal["error"]
    status: int = Field(500, ge=400, le=599)
    like: Literal["out of memory", "nan"] | None = Field(None, description="a body of the real WebUI's")
    body: Any = Field(None, description="a body of one's own; excludes `like`")

    @model_validator(mode="after")
    def _has_one_body(self) -> ErrorAnswer:
        if (self.like is None) == (self.body is None):
            raise ValueError(f"give `body`, or `like` with one of {', '.join(LIKE)}")
        return self


class Hang(_RequestFault):
    """No answer until the fault is disarmed or the client is gone."""

    kind: Literal["hang"]


class Slow(_RequestFault):
    """The usual answer, late."""

    kind: Literal["slow"]
    seconds: float = Field(gt=0, le=3600)


class Drop(_RequestFault):
    """The connection breaks without an answer."""

    kind: Literal["drop"]


class Crash(_RequestFault):
    """The process ends at once, with exit code 70."""

    kind: Literal["crash"]


class BrokenImage(_RequestFault):
    """A picture that no decoder reads to its end."""

    kind: Literal["image"]
    how: Literal["truncated", "corrupt"]
    when: Literal["after"] = "after"


class ProgressFault(_RequestFault):
    """Progress that stands still, or falls by 0.1 with every look."""

    kind: Literal["progress"]
    how: Literal["stuck", "backwards"]
    path: str = "*/progress"
    times: int | None = Field(None, ge=1)
    when: Literal["after"] = "after"


class _LoadFault(_Fault):
    asked: str = Field("*", description="file name of the checkpoint that the job wants, with * for any text")


class WrongModel(_LoadFault):
    """Another checkpoint is loaded than the one asked for, and the answer does not complain."""

    kind: Literal["wrong model"]
    loads: str = Field(description="file name of the checkpoint that is loaded instead")


class LoadFailure(_LoadFault):
    """The checkpoint does not load."""

    kind: Literal["load failure"]
    message: str = "Error while deserializing header: HeaderTooLarge"


AnyFault = Annotated[
    ErrorAnswer | Hang | Slow | Drop | Crash | BrokenImage | ProgressFault | WrongModel | LoadFailure,
    Field(discriminator="kind"),
]


class Steps(BaseModel):
    """How the sampler goes on: `manual` waits before every step for `advance`, `timed` takes `seconds` a
    step, `immediate` as fast as it can. `advance` alone lets a manual sampler make that many steps."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["manual", "immediate", "timed"] | None = None
    advance: int = Field(0, ge=0)
    seconds: float | None = Field(None, ge=0, le=60)

    @model_validator(mode="after")
    def _says_something(self) -> Steps:
        if self.mode is None and not self.advance:
            raise ValueError("give `mode`, `advance`, or both")
        if (self.mode == "timed") != (self.seconds is not None):
            raise ValueError("`seconds` goes with mode `timed`, and only with it")
        if self.advance and self.mode in {"immediate", "timed"}:
            raise ValueError(f"`advance` moves a manual sampler; mode {self.mode!r} goes by itself")
        return self


class StepControl(Protocol):
    """What the faults need of the server's StepDriver."""

    step_time: float

    def hold(self) -> None: ...
    def advance(self, n: int = 1) -> None: ...
    def release(self) -> None: ...


class _Armed:
    """One armed fault and its count of matches."""

    def __init__(self, number: int, fault: Any) -> None:
        self.id = number
        self.fault = fault
        self.matched = 0
        self.fired = 0
        self.released = threading.Event()
        self.shown: dict[str, dict[str, Any]] = {}  # progress answers given last, by task

    def fires(self) -> bool:
        """Count a match; true if the fault hits it."""
        self.matched += 1
        past = self.matched - self.fault.nth
        hit = past >= 0 and (self.fault.times is None or past < self.fault.times)
        self.fired += hit
        return hit

    def report(self) -> dict[str, Any]:
        return {"id": self.id, "matched": self.matched, "fired": self.fired, **self.fault.model_dump()}


class Faults:
    """The armed faults of one server. Thread-safe: jobs run in threads of their own."""

    def __init__(self, steps: StepControl) -> None:
        self._steps = steps
        self._numbers = itertools.count(1)
        self._armed: dict[int, _Armed] = {}
        self._lock = threading.Lock()

    def arm(self, fault: Any) -> int:
        """Arm a fault (one of the models above) and return its id."""
        with self._lock:
            number = next(self._numbers)
            self._armed[number] = _Armed(number, fault)
            return number

    def disarm(self, number: int | None = None) -> int:
        """Disarm one fault or all; what hangs on them goes on. Returns how many were armed.

        Raises KeyError if no fault has that number.
        """
        with self._lock:
            gone = list(self._armed.values()) if number is None else [self._armed[number]]
            for armed in gone:
                del self._armed[armed.id]
                armed.released.set()
            return len(gone)

    def report(self) -> list[dict[str, Any]]:
        with self._lock:
            return [armed.report() for armed in self._armed.values()]

    # -- hook of the checkpoint loader -----------------------------------------------------------------

    def on_load(self, checkpoint: str) -> str:
        """The file name of the checkpoint to load when `checkpoint` is asked for.

        Raises CheckpointFault if this load was armed to fail.
        """
        with self._lock:
            hits: list[Any] = [
                armed.fault
                for armed in self._armed.values()
                if isinstance(armed.fault, _LoadFault)
                and fnmatch.fnmatchcase(checkpoint, armed.fault.asked)
                and armed.fires()
            ]
        for fault in hits:
            if isinstance(fault, LoadFailure):
                raise CheckpointFault(fault.message)
        return hits[0].loads if hits else checkpoint

    # -- ASGI ------------------------------------------------------------------------------------------

    def around(self, app: App) -> App:
        """The application with the faults in front of it. Must be the outermost layer: `drop` reaches
        through `send` to the connection."""

        async def faulty(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"].startswith("/faults"):
                await app(scope, receive, send)
                return
            body = await _read_body(receive)
            hits = self._hits(scope["method"], scope["path"], body)
            if not hits:
                await app(scope, _replay(body, receive), send)
                return
            log.info("faults %s hit %s %s", [hit.fault.kind for hit in hits], scope["method"], scope["path"])
            answer = _Answer()
            for hit in hits:
                if hit.fault.when == "before" and await self._strike(hit, answer, scope, body, receive, send):
                    return
            if not answer.given:
                await app(scope, _replay(body, receive), answer.collect)
            for hit in hits:
                if hit.fault.when == "after" and await self._strike(hit, answer, scope, body, receive, send):
                    return
            await answer.deliver(send)

        return faulty

    def _hits(self, method: str, path: str, body: bytes) -> list[_Armed]:
        with self._lock:
            return [
                armed
                for armed in self._armed.values()
                if isinstance(armed.fault, _RequestFault) and armed.fault.matches(method, path, body) and armed.fires()
            ]

    async def _strike(
        self,
        hit: _Armed,
        answer: _Answer,
        scope: MutableMapping[str, Any],
        body: bytes,
        receive: Receive,
        send: Send,
    ) -> bool:
        """Let one fault happen; true if nothing is left of the connection."""
        match hit.fault:
            case ErrorAnswer() as error:
                answer.replace(error.status, LIKE[error.like] if error.like else error.body)
            case Slow() as slow:
                return await _gone_within(receive, slow.seconds)
            case Hang():
                while not hit.released.is_set():
                    if await _gone_within(receive, 0.05):
                        return True
            case Drop():
                await _break_connection(receive, send)
                return True
            case Crash():
                log.warning("crashing as armed on %s %s", scope["method"], scope["path"])
                os._exit(CRASH_EXIT_CODE)
            case BrokenImage() as broken:
                answer.change(lambda said: _break_images(said, broken.how))
            case ProgressFault() as fault:
                asked = f"{scope['path']} {body.decode(errors='replace')}"
                answer.change(lambda said: _bend_progress(hit.shown, asked, said, fault.how))
        return False

    # -- the control endpoint --------------------------------------------------------------------------

    def add_routes(self, app: FastAPI) -> None:
        """Register /faults. The routes stay out of the OpenAPI document, which is the WebUI's."""

        @app.post("/faults", include_in_schema=False, status_code=201)
        def arm(fault: Annotated[AnyFault, Body()]) -> dict[str, Any]:
            number = self.arm(fault)
            return {"id": number, "matched": 0, "fired": 0, **fault.model_dump()}

        @app.get("/faults", include_in_schema=False)
        def list_faults() -> list[dict[str, Any]]:
            return self.report()

        @app.delete("/faults", include_in_schema=False)
        def disarm_all() -> dict[str, int]:
            return {"disarmed": self.disarm()}

        @app.delete("/faults/{number}", include_in_schema=False)
        def disarm(number: int) -> dict[str, int]:
            try:
                return {"disarmed": self.disarm(number)}
            except KeyError:
                raise HTTPException(404, f"No fault {number} is armed; GET /faults lists them") from None

        @app.post("/faults/steps", include_in_schema=False)
        def steps(steps: Steps) -> Steps:
            if steps.mode == "manual":
                self._steps.hold()
            elif steps.mode is not None:
                self._steps.step_time = steps.seconds or 0.0
                self._steps.release()
            if steps.advance:
                self._steps.advance(steps.advance)
            return steps


class _Answer:
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


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    first: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replayed() -> Message:
        nonlocal first
        if first is not None:
            message, first = first, None
            return message
        return await receive()

    return replayed


async def _gone_within(receive: Receive, seconds: float) -> bool:
    """Wait; true, and at once, if the client leaves meanwhile. The body must have been read."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass  # an empty rest of the body
            return True
    except TimeoutError:
        return False


async def _break_connection(receive: Receive, send: Send) -> None:
    """Reset the connection under the response. ASGI has no message for it; uvicorn's `send` is a method of
    the object that owns the transport."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]
    while (await receive())["type"] != "http.disconnect":
        pass


def _break_images(said: dict[str, Any], how: Literal["truncated", "corrupt"]) -> dict[str, Any]:
    def broken(encoded: str) -> str:
        data = bytearray(base64.b64decode(encoded))
        middle = len(data) // 2
        if how == "truncated":
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


def _bend_progress(
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
