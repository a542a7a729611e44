"""The client: one method per endpoint, and the only place where HTTP becomes a typed error."""

from __future__ import annotations

import base64
import binascii
import io
import json
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic import BaseModel, TypeAdapter, ValidationError
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_netrc_auth
from urllib3.exceptions import ReadTimeoutError
from urllib3.util.retry import Retry

from webui.errors import AnswerLost, BadAnswer, BrokenImage, CallTimedOut, NotFound, Unreachable, from_status
from webui.models import Checkpoint, Generation, ImageInfo, Names, ProgressInfo, TaskProgress

logger = logging.getLogger(__name__)
T = TypeVar("T")


class _Pending(BaseModel):
    tasks: list[str] = []


class _ADetailerModels(BaseModel):
    ad_model: list[str] = []


class _Announced(io.BytesIO):
    """A body that says when it was read to its end: all of it is on the wire by then."""

    def __init__(self, content: bytes, on_sent: Callable[[], None]) -> None:
        super().__init__(content)
        self._on_sent = on_sent

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(size)
        if not part:
            self._on_sent()
        return part


class Timeouts(BaseModel):
    """Seconds. ``connect`` and ``progress`` are what seasoned pipelines for this API settled on."""

    connect: float = 3.0
    progress: float = 5.0
    call: float = 15.0
    generation: float = 1800.0


class _OnceMoreWhenStale(Retry):
    """A GET whose idle connection the server had just closed is sent again; one that timed out is not, or every
    time-out would last twice as long as it says."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Self:
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


class WebUIClient:
    """A WebUI at ``base_url``, speaking its REST API.

    Every method raises a :class:`webui.errors.WebUIError`, save ``get_progress`` and ``task_progress``, which
    answer None instead: progress is advice. Safe to use from several threads.

    Args:
        base_url: where it answers, such as ``http://127.0.0.1:7860``.
        user, password: of ``--api-auth``; sent as basic authentication, never shown.
        verify: whether to check the TLS certificate, or the path of a CA bundle to check it with.
        timeouts: seconds for each kind of call.

    Raises:
        ValueError: the address holds a password, which would show in every message, or the CA bundle is not there.
    """

    def __init__(
        self,
        base_url: str,
        *,
        user: str = "",
        password: str = "",
        verify: bool | str = True,
        timeouts: Timeouts | None = None,
    ) -> None:
        if "@" in urlsplit(base_url).netloc:
            raise ValueError("the WebUI's address must not hold credentials: give user and password on their own")
        if isinstance(verify, str) and not Path(verify).exists():
            raise ValueError(f"the CA bundle {verify} is not on this machine")
        self.base_url = base_url.rstrip("/")
        self.timeouts = timeouts or Timeouts()
        self._session = requests.Session()
        # What the environment says (proxies, a CA bundle, ~/.netrc) is read here once: requests would read it again
        # for each call, half a millisecond in which the GPU waits.
        given = self._session.merge_environment_settings(self.base_url, {}, None, verify, None)
        self._session.proxies, self._session.verify = given["proxies"], given["verify"]
        # As bytes: requests would refuse what is not in Latin-1, and show it in the error.
        own = HTTPBasicAuth(user.encode(), password.encode()) if user else None
        self._session.auth = own or get_netrc_auth(self.base_url)
        self._session.trust_env = False
        # A server closes an idle connection whenever it likes; a GET that met that moment is simply sent again.
        # A POST never is: a generation must not run twice by accident.
        stale = _OnceMoreWhenStale(total=1, connect=0, read=1, status=0, other=0, allowed_methods={"GET"})
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=stale, pool_maxsize=8))

    def __repr__(self) -> str:
        return f"WebUIClient({self.base_url!r})"

    def close(self) -> None:
        self._session.close()

    # -- generating ----------------------------------------------------------------------------------------

    def txt2img(self, payload: dict[str, Any]) -> Generation:
        """``POST /sdapi/v1/txt2img``; blocks until the picture is there."""
        return self.send("txt2img", encoded(payload)).generation()

    def img2img(self, payload: dict[str, Any]) -> Generation:
        """``POST /sdapi/v1/img2img``; ``init_images`` and ``mask`` are base64."""
        return self.send("img2img", encoded(payload)).generation()

    def extra_single_image(self, payload: dict[str, Any]) -> bytes:
        """``POST /sdapi/v1/extra-single-image``: one upscaled picture, encoded."""
        return self.send("extra-single-image", encoded(payload)).image()

    def send(self, endpoint: str, body: bytes, *, on_sent: Callable[[], None] = lambda: None) -> Received:
        """Any of the three above for those who count the GPU's milliseconds: encoded before, decoded after.

        Blocks for as long as the GPU takes. What was sent and not answered is AnswerLost.

        Args:
            body: the payload as JSON.
            on_sent: called when all of it is on the wire.
        """
        asked = self._name("POST", f"/sdapi/v1/{endpoint}")
        try:
            response = self._session.post(
                f"{self.base_url}/sdapi/v1/{endpoint}",
                data=_Announced(body, on_sent),
                headers={"Content-Type": "application/json"},
                timeout=(self.timeouts.connect, self.timeouts.generation),
            )
        except requests.ConnectTimeout as error:
            raise Unreachable(self._unreachable(asked, error)) from None
        except requests.Timeout:
            raise AnswerLost(
                f"{asked} was not answered in {self.timeouts.generation:g} s. "
                "If pictures really take that long, raise the connection's generation time-out"
            ) from None
        except requests.ConnectionError as error:
            if _was_refused(error):
                raise Unreachable(self._unreachable(asked, error)) from None
            raise AnswerLost(
                f"{asked} was sent, but the connection broke before the answer ({_cause(error)}). "
                "The WebUI keeps no results: the picture has to be painted again"
            ) from None
        except requests.RequestException as error:
            raise AnswerLost(f"{asked} was sent, but its answer could not be read ({_cause(error)})") from None
        if response.status_code != 200:
            _json(asked, response)  # raises
        return Received(asked, response)

    # -- progress ------------------------------------------------------------------------------------------

    def get_progress(self, *, skip_current_image: bool = True) -> ProgressInfo | None:
        """``GET /sdapi/v1/progress``: the running job, whoever's it is; None when idle or when it failed."""
        info = self._advice(lambda: self.job_state(skip_current_image=skip_current_image))
        return info if info is not None and info.state.running else None

    def task_progress(
        self, task_id: str, *, live_preview: bool = False, id_live_preview: int = -1
    ) -> TaskProgress | None:
        """``POST /internal/progress`` of one task id; None when it failed.

        Raises:
            NotFound: this WebUI has no ``/internal`` routes (``--nowebui``).
        """
        asked = {"id_task": task_id, "live_preview": live_preview, "id_live_preview": id_live_preview}
        return self._advice(
            lambda: TaskProgress.model_validate(
                self._call("POST", "/internal/progress", json=asked, timeout=self.timeouts.progress)
            ),
            unless=NotFound,
        )

    def job_state(self, *, skip_current_image: bool = True) -> ProgressInfo:
        """``GET /sdapi/v1/progress``, idle or not.

        Raises:
            WebUIError: it could not be had.
        """
        params = {"skip_current_image": str(skip_current_image).lower()}
        body = self._call("GET", "/sdapi/v1/progress", params=params, timeout=self.timeouts.progress)
        return self._parse(ProgressInfo, "/sdapi/v1/progress", body)

    def pending_tasks(self) -> list[str]:
        """``GET /internal/pending-tasks``: ids of the jobs that wait in the WebUI's own queue.

        Raises:
            NotFound: this WebUI has no ``/internal`` routes (``--nowebui``).
        """
        path = "/internal/pending-tasks"
        return self._parse(_Pending, path, self._call("GET", path, timeout=self.timeouts.progress)).tasks

    def interrupt(self) -> None:
        """``POST /sdapi/v1/interrupt``: takes no id and hits whatever runs. Ask first whose it is."""
        self._call("POST", "/sdapi/v1/interrupt", json={}, timeout=self.timeouts.progress)

    # -- what the WebUI has --------------------------------------------------------------------------------

    def checkpoints(self) -> list[Checkpoint]:
        """``GET /sdapi/v1/sd-models``."""
        return self._list(Checkpoint, "/sdapi/v1/sd-models")

    def refresh_checkpoints(self) -> None:
        """``POST /sdapi/v1/refresh-checkpoints``: new files are unseen before it. Waits behind a running job."""
        self._call("POST", "/sdapi/v1/refresh-checkpoints", json={}, timeout=self.timeouts.generation)

    def samplers(self) -> list[Names]:
        """``GET /sdapi/v1/samplers``. Requests must use ``name``: an alias silently becomes another sampler."""
        return self._list(Names, "/sdapi/v1/samplers")

    def schedulers(self) -> list[Names]:
        """``GET /sdapi/v1/schedulers``: both ``name`` and ``label`` may be used."""
        return self._list(Names, "/sdapi/v1/schedulers")

    def upscalers(self) -> list[Names]:
        """``GET /sdapi/v1/upscalers``."""
        return self._list(Names, "/sdapi/v1/upscalers")

    def latent_upscale_modes(self) -> list[Names]:
        """``GET /sdapi/v1/latent-upscale-modes``: further upscalers that hires fix takes."""
        return self._list(Names, "/sdapi/v1/latent-upscale-modes")

    def styles(self) -> list[Names]:
        """``GET /sdapi/v1/prompt-styles``."""
        return self._list(Names, "/sdapi/v1/prompt-styles")

    def loras(self) -> list[Names]:
        """``GET /sdapi/v1/loras``; empty where the WebUI has no LoRA extension."""
        try:
            return self._list(Names, "/sdapi/v1/loras")
        except NotFound:
            return []

    def vaes(self) -> list[Names]:
        """Forge's ``sd-modules``, or AUTOMATIC1111's ``sd-vae``."""
        return self._list(Names, "/sdapi/v1/sd-modules" if self.is_forge() else "/sdapi/v1/sd-vae")

    def is_forge(self) -> bool:
        """Whether this is Forge, which has ``sd-modules`` where AUTOMATIC1111 has ``sd-vae``."""
        try:
            self._call("GET", "/sdapi/v1/sd-modules")
        except NotFound:
            return False
        return True

    def scripts(self) -> dict[str, list[str]]:
        """``GET /sdapi/v1/scripts``: lower-case titles for ``txt2img`` and ``img2img``."""
        return self._parse(dict[str, list[str]], "/sdapi/v1/scripts", self._call("GET", "/sdapi/v1/scripts"))

    def options(self) -> dict[str, Any]:
        """``GET /sdapi/v1/options``."""
        return self._parse(dict[str, Any], "/sdapi/v1/options", self._call("GET", "/sdapi/v1/options"))

    def adetailer_models(self) -> list[str]:
        """``GET /adetailer/v1/ad_model``; empty where ADetailer is not installed."""
        path = "/adetailer/v1/ad_model"
        try:
            return self._parse(_ADetailerModels, path, self._call("GET", path)).ad_model
        except NotFound:
            return []

    def adetailer_schema(self) -> dict[str, Any]:
        """``GET /adetailer/v1/schema``: the JSON schema of one ADetailer pass.

        Raises:
            NotFound: ADetailer is not installed.
        """
        return self._parse(dict[str, Any], "/adetailer/v1/schema", self._call("GET", "/adetailer/v1/schema"))

    def adetailer_version(self) -> str | None:
        """``GET /adetailer/v1/version``; None where ADetailer is not installed."""
        try:
            body = self._call("GET", "/adetailer/v1/version")
        except NotFound:
            return None
        return str(body.get("version")) if isinstance(body, dict) else str(body)

    # -- HTTP ----------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, *, timeout: float | None = None, **arguments: Any) -> Any:
        """A short call's decoded JSON."""
        asked = self._name(method, path)
        seconds = timeout or self.timeouts.call
        try:
            response = self._session.request(
                method,
                self.base_url + path,
                timeout=(self.timeouts.connect, seconds),
                **arguments,
            )
        except requests.Timeout as error:
            if isinstance(error, requests.ConnectTimeout):
                raise Unreachable(self._unreachable(asked, error)) from None
            raise CallTimedOut(f"{asked} was not answered in {seconds:g} s: the WebUI is busy or hangs") from None
        except requests.RequestException as error:
            raise Unreachable(self._unreachable(asked, error)) from None
        return _json(asked, response)

    def _list(self, kind: type[T], path: str) -> list[T]:
        return self._parse(list[kind], path, self._call("GET", path))  # type: ignore[valid-type]

    def _parse(self, kind: type[T], path: str, body: Any) -> T:
        try:
            return _adapter(kind).validate_python(body)  # type: ignore[arg-type]
        except ValidationError as error:
            raise BadAnswer(f"{self._name('GET', path)} was answered in an unknown form: {error}") from None

    def _advice(self, ask: Callable[[], T], unless: type[Exception] | tuple[()] = ()) -> T | None:
        try:
            return ask()
        except unless:
            raise
        except Exception as error:
            logger.debug("progress could not be had: %s", error)
            return None

    def _name(self, method: str, path: str) -> str:
        return f"{method} {self.base_url}{path}"

    def _unreachable(self, asked: str, error: Exception) -> str:
        return f"{asked} could not be reached ({_cause(error)}). Is the WebUI running, with --api, at this address?"


class Received:
    """The answer to a generation as it came over the wire. Decoding takes milliseconds that the GPU need not wait."""

    def __init__(self, asked: str, response: requests.Response) -> None:
        self._asked, self._response = asked, response

    def generation(self) -> Generation:
        """What txt2img and img2img made.

        Raises:
            BadAnswer, BrokenImage: it is something else.
        """
        answer = _json(self._asked, self._response)
        try:
            info = ImageInfo.model_validate(json.loads(answer["info"]))
            images = [_decoded(self._asked, image) for image in answer["images"]]
        except (KeyError, TypeError, ValueError) as error:
            raise BadAnswer(
                f"{self._asked} was answered with 200, but not with pictures and their info: {error!r}"
            ) from error
        return Generation(images[info.index_of_first_image :], info)

    def image(self) -> bytes:
        """What extra-single-image made.

        Raises:
            BadAnswer, BrokenImage: it is something else.
        """
        answer = _json(self._asked, self._response)
        return _decoded(self._asked, answer.get("image") if isinstance(answer, dict) else None)


def encoded(payload: dict[str, Any]) -> bytes:
    """A payload as the JSON to send."""
    return json.dumps(payload, allow_nan=False).encode()


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _json(asked: str, response: requests.Response) -> Any:
    """An answer's decoded body.

    Raises:
        WebUIError: the status is not 200, or there is no JSON in it.
    """
    try:
        body = response.json()
    except ValueError:
        body = response.text
        if response.status_code == 200:
            raise BadAnswer(
                f"{asked} was answered with 200, but not with JSON: {body[:80]!r}. "
                "Is this address a WebUI's, started with --api?"
            ) from None
    if response.status_code != 200:
        raise from_status(asked, response.status_code, body)
    return body


def _decoded(asked: str, image: object) -> bytes:
    """A base64 picture, with or without a data URI's head, as bytes."""
    if not isinstance(image, str):
        raise BadAnswer(f"{asked} was answered with 200, but without a picture")
    try:
        return base64.b64decode(image.partition(",")[2] if image.startswith("data:") else image, validate=True)
    except binascii.Error as error:
        raise BrokenImage(f"{asked} was answered with a picture that is no base64: {error}") from error


def _was_refused(error: requests.ConnectionError) -> bool:
    """Whether the request never left: nobody listened, or there is no such host."""
    text = repr(error)
    return "NewConnectionError" in text or "NameResolution" in text or "SSLError" in text


def _cause(error: BaseException) -> str:
    """The innermost reason, in words: requests wraps it three deep and repeats the address in each."""
    reason: Any = error
    while True:
        inner = getattr(reason, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in getattr(reason, "args", ()) if isinstance(arg, BaseException)), None)
        if inner is None or inner is reason:
            break
        reason = inner
    text = str(reason).rpartition(": ")[2] or type(reason).__name__
    return text
