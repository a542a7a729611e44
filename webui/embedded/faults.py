"""Faults on demand: what a real WebUI does on its worst days, armed by a test for the n-th matching request.

Only active with `--faults`. Most faults act on the request as ASGI sees it, so that they hit any route and
need nothing from it; what happens inside a job (loads, steps, upscalers) is asked of `Faults` there:

    POST /faults          arm one (a JSON object, `kind` says which); answers it with its id
    GET /faults           what is armed, and how often each has matched and fired
    DELETE /faults[/{id}] disarm; a hanging request goes on
    POST /faults/steps    drive the sampler step by step

docs/faults.md has an example of each.
"""

from __future__ import annotations

import fnmatch
import itertools
import logging
import os
import threading
from collections.abc import Callable
from typing import Annotated, Any, Protocol

from fastapi import Body, FastAPI, HTTPException

from webui.embedded.asgi import App, Receive, Scope, Send, gone_within, read_body, replay
from webui.embedded.fault_answers import HeldAnswer, break_images, falsify_progress
from webui.embedded.fault_kinds import (
    LIKE,
    AnyFault,
    BrokenImage,
    Crash,
    Drop,
    ErrorAnswer,
    Hang,
    LoadFailure,
    LoadFault,
    LoadHang,
    MissingWeights,
    ProgressFault,
    RequestFault,
    Slow,
    Stall,
    StepFault,
    Steps,
    WrongModel,
)

log = logging.getLogger(__name__)

CRASH_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h: an internal error, told apart from a kill


class CheckpointFault(ValueError):
    """Raised in the place of a load that was armed to fail."""


class OutOfMemoryError(RuntimeError):
    """As torch's error is called: the 500 names it."""


class NansException(Exception):  # the real one's name, which the 500 gives
    """What a WebUI raises for a picture of NaNs."""


_RAISED = {"out of memory": OutOfMemoryError, "nan": NansException}
_LOOK_SECONDS = 0.02  # how often a stalled sampler looks whether it was interrupted


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

    # -- what a job asks -------------------------------------------------------------------------------

    def _fired(self, kind: type[Any], matches: Callable[[Any], bool]) -> list[_Armed]:
        with self._lock:
            return [
                armed
                for armed in self._armed.values()
                if isinstance(armed.fault, kind) and matches(armed.fault) and armed.fires()
            ]

    def on_load(self, checkpoint: str) -> str:
        """The file name of the checkpoint to load when `checkpoint` is asked for. Waits in a load that hangs.

        Raises CheckpointFault if this load was armed to fail.
        """
        hits = self._fired(LoadFault, lambda fault: fnmatch.fnmatchcase(checkpoint, fault.asked))
        for hit in hits:
            if isinstance(hit.fault, LoadHang):
                hit.released.wait()
            elif isinstance(hit.fault, LoadFailure):
                raise CheckpointFault(hit.fault.message)
        others = [hit.fault.loads for hit in hits if isinstance(hit.fault, WrongModel)]
        return others[0] if others else checkpoint

    def on_step(self, step: int, task: str, stopped: Callable[[], bool]) -> None:
        """Before a step of the sampler (counted from 1). Waits in a stall, or raises what the job fails with.

        `stopped` tells whether the job was interrupted or skipped.
        """
        hits = self._fired(StepFault, lambda fault: fault.step == step and fnmatch.fnmatchcase(task, fault.task))
        for hit in hits:
            if not isinstance(hit.fault, Stall):
                raise _RAISED[hit.fault.like](LIKE[hit.fault.like]["message"])
            while not hit.released.wait(_LOOK_SECONDS):
                if hit.fault.obeys_interrupt and stopped():
                    break

    def lacks_weights(self, upscaler: str) -> bool:
        """Whether a listed upscaler can't be loaded."""
        return bool(self._fired(MissingWeights, lambda fault: fnmatch.fnmatchcase(upscaler, fault.upscaler)))

    # -- ASGI ------------------------------------------------------------------------------------------

    def around(self, app: App) -> App:
        """The application with the faults in front of it. `asgi.with_transport` has to be around it."""

        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"].startswith("/faults"):
                await app(scope, receive, send)
                return
            body = await read_body(receive)
            method, path = scope["method"], scope["path"]
            hits = self._fired(RequestFault, lambda fault: fault.matches(method, path, body))
            if not hits:
                await app(scope, replay(body, receive), send)
                return
            log.info("faults %s hit %s %s", [hit.fault.kind for hit in hits], method, path)
            answer = HeldAnswer()
            for hit in hits:
                if hit.fault.when == "before" and await self._apply(hit, answer, scope, body, receive):
                    return
            if not answer.given:
                await app(scope, replay(body, receive), answer.collect)
            for hit in hits:
                if hit.fault.when == "after" and await self._apply(hit, answer, scope, body, receive):
                    return
            await answer.deliver(send)

        return faulty

    async def _apply(
        self,
        hit: _Armed,
        answer: HeldAnswer,
        scope: Scope,
        body: bytes,
        receive: Receive,
    ) -> bool:
        """Let one fault happen; true if nothing is left of the connection."""
        match hit.fault:
            case ErrorAnswer() as error:
                answer.replace(error.status, LIKE[error.like] if error.like else error.body)
            case Slow() as slow:
                return await gone_within(receive, slow.seconds)
            case Hang():
                while not hit.released.is_set():
                    if await gone_within(receive, 0.05):
                        return True
            case Drop():
                scope["transport"].abort()
                while (await receive())["type"] != "http.disconnect":
                    pass  # uvicorn complains of an application that ends without an answer before that
                return True
            case Crash():
                log.warning("crashing as armed on %s %s", scope["method"], scope["path"])
                os._exit(CRASH_EXIT_CODE)
            case BrokenImage() as broken:
                answer.change(lambda said: break_images(said, broken.how))
            case ProgressFault() as fault:
                asked = f"{scope['path']} {body.decode(errors='replace')}"
                answer.change(lambda said: falsify_progress(hit.shown, asked, said, fault.how))
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
