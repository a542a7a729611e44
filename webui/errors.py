"""What can go wrong between us and a WebUI, as types.

    WebUIError
    ├── Unreachable            nothing answered: refused, reset, no such host, TLS          (transient)
    │   └── CallTimedOut       a short call took longer than its time-out                   (transient)
    ├── AnswerLost             a generation was sent and its answer never came              (transient)
    ├── Stalled                our job runs, and its progress stands still           (transient), once
    ├── CallFailed             an HTTP status other than 200
    │   ├── Unavailable        502, 503, 504                                                (transient)
    │   ├── NotAuthenticated   401, 403
    │   ├── NotFound           404
    │   ├── Rejected           422: the request's form is wrong
    │   ├── CheckpointLost     500 after a failed load: no checkpoint is in memory
    │   └── OutOfMemory        500 whose error is CUDA's
    ├── WrongPicture           a 200 that is not what was asked
    │   ├── WrongCheckpoint    another model painted it                                     (transient)
    │   ├── WrongImages        another number or size of pictures, or other seeds
    │   ├── BrokenImage        what came back is no whole picture                           (transient)
    │   ├── BlankPicture       black, or of one other colour
    │   ├── Interrupted        somebody pressed Interrupt: half-denoised                    (transient)
    │   │   └── Skipped        somebody pressed Skip
    │   └── WithoutEffect      ADetailer or an upscaler did not do what was asked
    └── BadAnswer              a body that cannot be read as the API's

``is_transient`` is the one place that says where another try can help. A validation error never is: the same
request gives the same error. Out of memory is not either: it would only burn the night.

Every message says what was asked, what came back and what to do next. Credentials are no part of any: the
client keeps them in a header, and an address with a password in it is refused by the connection block.
"""

from __future__ import annotations

BODY_SHOWN = 400  # characters of an answer's body that an error repeats


class WebUIError(Exception):
    """Anything that went wrong with a WebUI. ``transient``: another try may succeed."""

    transient = False


class Unreachable(WebUIError):
    """No answer at all: connection refused or reset, unknown host, failed TLS."""

    transient = True


class CallTimedOut(Unreachable):
    """A short call (lists, progress, interrupt) took longer than its time-out."""


class AnswerLost(WebUIError):
    """A generation was sent, and no answer came. A WebUI keeps none: the picture must be painted again."""

    transient = True


class Stalled(WebUIError):
    """Our job runs, and its progress stands still. The second time, ``transient`` is False on the error itself."""

    transient = True


class BadAnswer(WebUIError):
    """A 200 whose body is not what the API's documentation says."""


class CallFailed(WebUIError):
    """An HTTP status other than 200."""

    def __init__(self, asked: str, status: int = 0, said: str = "", advice: str = "", body: object = None) -> None:
        self.asked, self.status, self.said, self.body = asked, status, said, body
        if not status:
            # A whole message: so Prefect makes an error again that it stored with a failed run.
            super().__init__(asked)
            return
        message = f"{asked} was answered with {status}: {said[:BODY_SHOWN] or '(empty body)'}"
        super().__init__(f"{message}. {advice}" if advice else message)


class Unavailable(CallFailed):
    """502, 503 or 504: usually a gateway in front of a WebUI that is starting or busy."""

    transient = True


class NotAuthenticated(CallFailed):
    """401 or 403: the WebUI was started with --api-auth."""


class NotFound(CallFailed):
    """404: this WebUI does not have the endpoint (or the thing that was named)."""


class Rejected(CallFailed):
    """422: a field is missing, unknown to the WebUI's schema, or of the wrong type."""


class OutOfMemory(CallFailed):
    """The GPU had too little memory for this picture."""


class CheckpointLost(CallFailed):
    """After a failed load no checkpoint is in memory, and every job fails until a different one loads; ``transient`` is
    True where that was seen to."""


class WrongPicture(WebUIError):
    """A 200 whose content is not what was asked."""


class WrongCheckpoint(WrongPicture):
    """Another checkpoint than the request named painted it: somebody switched the model meanwhile."""

    transient = True


class WrongImages(WrongPicture):
    """Another number or size of pictures came back than was asked for, or other seeds."""


class BrokenImage(WrongPicture):
    """A picture came back truncated or corrupt."""

    transient = True


class BlankPicture(WrongPicture):
    """A picture came back black, or of one other colour: the same request gives the same again."""


class Interrupted(WrongPicture):
    """Somebody interrupted the job; what came back is half-denoised."""

    transient = True


class Skipped(Interrupted):
    """Somebody skipped this picture: what came back is half-denoised, and nobody wants it again."""

    transient = False


class WithoutEffect(WrongPicture):
    """ADetailer dropped its arguments, a required pass found nothing, or an upscaler could not be loaded."""


def is_transient(error: BaseException) -> bool:
    """Whether the same request, sent again, may succeed."""
    return isinstance(error, WebUIError) and error.transient


_ADVICE = {
    NotAuthenticated: "Set user and password (the WebUI's --api-auth) in the connection block",
    NotFound: "Is it a WebUI, started with --api?",
    Rejected: "Check the named field against the WebUI's /docs",
    OutOfMemory: "Use a smaller size or batch_size; it is not tried again",
    CheckpointLost: "A checkpoint failed to load there. Select another one at the WebUI and come back, or restart it",
    Unavailable: "The WebUI is starting or a gateway in front of it gave up",
}


def from_status(asked: str, status: int, body: object) -> CallFailed:
    """The error for an HTTP answer; ``body`` is its decoded JSON, or its text.

    A WebUI's bodies are ``{"detail": …}`` for its own refusals (a list for 422) and
    ``{"error", "detail", "body", "message"}`` for everything that it did not expect.
    """
    said = str(body)
    if isinstance(body, dict):
        both = ": ".join(str(body[key]) for key in ("error", "message") if body.get(key))
        said = both or str(body.get("detail") or body)
    kind: type[CallFailed] = CallFailed
    if status in (401, 403):
        kind = NotAuthenticated
    elif status == 404:
        kind = NotFound
    elif status == 422:
        kind = Rejected
    elif status in (502, 503, 504):
        kind = Unavailable
    elif "NoneType" in said and "sd_checkpoint_info" in said:
        kind = CheckpointLost
    elif "OutOfMemory" in said or "out of memory" in said.lower():
        kind = OutOfMemory
    return kind(asked, status, said, _ADVICE.get(kind, ""), body)
