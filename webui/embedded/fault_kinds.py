"""The faults that can be armed, as the bodies of POST /faults."""

from __future__ import annotations

import fnmatch
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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


class _Fault(BaseModel):
    model_config = ConfigDict(extra="forbid")

    nth: int = Field(1, ge=1, description="the first match that the fault hits, counted from 1")
    times: int | None = Field(1, ge=1, description="how many matches it hits from there; null: all of them")


class RequestFault(_Fault):
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


class ErrorAnswer(RequestFault):
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


class Hang(RequestFault):
    """No answer until the fault is disarmed or the client is gone."""

    kind: Literal["hang"]


class Slow(RequestFault):
    """The usual answer, late."""

    kind: Literal["slow"]
    seconds: float = Field(gt=0, le=3600)


class Drop(RequestFault):
    """The connection breaks without an answer."""

    kind: Literal["drop"]


class Crash(RequestFault):
    """The process ends at once, with exit code 70."""

    kind: Literal["crash"]


class BrokenImage(RequestFault):
    """A picture that no decoder reads to its end, one whose header claims 100,000 × 100,000 pixels (huge), or one
    that is all black (NaNs that nothing checked) or all of one colour, with the usual size and infotext."""

    kind: Literal["image"]
    how: Literal["truncated", "corrupt", "huge", "black", "uniform"]
    when: Literal["after"] = "after"


class ProgressFault(RequestFault):
    """Progress that stands still, or falls by 0.1 with every look."""

    kind: Literal["progress"]
    how: Literal["stuck", "backwards"]
    path: str = "*/progress"
    times: int | None = Field(None, ge=1)
    when: Literal["after"] = "after"


class LoadFault(_Fault):
    asked: str = Field("*", description="file name of the checkpoint that the job wants, with * for any text")


class WrongModel(LoadFault):
    """Another checkpoint is loaded than the one asked for, and the answer does not complain."""

    kind: Literal["wrong model"]
    loads: str = Field(description="file name of the checkpoint that is loaded instead")


class LoadFailure(LoadFault):
    """The checkpoint does not load."""

    kind: Literal["load failure"]
    message: str = "Error while deserializing header: HeaderTooLarge"


class LoadHang(LoadFault):
    """The load does not end until the fault is disarmed."""

    kind: Literal["load hang"]


class StepFault(_Fault):
    task: str = Field("*", description="task id of the job, with * for any text")
    step: int = Field(1, ge=1, description="the step before which it happens, in each pass of the sampler")


class Stall(StepFault):
    """The sampler stands still, and progress with it, until the fault is disarmed."""

    kind: Literal["stall"]
    obeys_interrupt: bool = Field(False, description="whether an interrupt or a skip ends it too")


class StepFailure(StepFault):
    """The job fails on the GPU, with the state that such a failure leaves."""

    kind: Literal["step failure"]
    like: Literal["out of memory", "nan"] = "out of memory"


class MissingWeights(_Fault):
    """A listed upscaler can't be loaded: the answer names it, the picture is Lanczos'."""

    kind: Literal["missing weights"]
    upscaler: str = Field("*", description="its name, with * for any text")
    times: int | None = Field(None, ge=1)


AnyFault = Annotated[
    ErrorAnswer
    | Hang
    | Slow
    | Drop
    | Crash
    | BrokenImage
    | ProgressFault
    | WrongModel
    | LoadFailure
    | LoadHang
    | Stall
    | StepFailure
    | MissingWeights,
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
