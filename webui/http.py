"""HTTP to a WebUI: the session, and the only place where HTTP becomes a typed error."""

from __future__ import annotations

import base64
import binascii
import io
import json
import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic import BaseModel, TypeAdapter, ValidationError
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_netrc_auth
from urllib3.exceptions import NewConnectionError

from webui.errors import AnswerLost, BadAnswer, BrokenImage, CallTimedOut, Unreachable, from_status
from webui.models import Generation, ImageInfo

T = TypeVar("T")


class Timeouts(BaseModel):
    """Seconds for each kind of call; ``generation``: without any progress."""

    connect: float = 3.0  # as for progress, what seasoned pipelines for this API settled on
    progress: float = 5.0
    call: float = 15.0
    generation: float = 1800.0


class _Body(io.BytesIO):
    """A request's body that says when it was read to its end: all of it is on the wire by then."""

    def __init__(self, content: bytes, on_sent: Callable[[], None]) -> None:
        super().__init__(content)
        self._on_sent = on_sent

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(size)
        if not part:
            self._on_sent()
        return part


class HTTPClient:
    """A server at ``base_url``; safe to use from several threads.

    Args:
        base_url: where it answers, such as ``http://127.0.0.1:7860``.
        user, password: of ``--api-auth``; sent as basic authentication, never shown.
        verify: whether to check the TLS certificate, or the path of a CA bundle to check it with.

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
        # Proxies, CA bundle and ~/.netrc are read once: `trust_env` reads them for each call (0.5 ms), and lets
        # REQUESTS_CA_BUNDLE win over a session's own CA bundle.
        given = self._session.merge_environment_settings(self.base_url, {}, None, verify, None)
        self._session.proxies, self._session.verify = given["proxies"], given["verify"]
        # As bytes: requests refuses what is not in Latin-1, and repeats it in the error.
        self._session.auth = HTTPBasicAuth(user.encode(), password.encode()) if user else get_netrc_auth(self.base_url)
        self._session.trust_env = False
        # A WebUI closes the connection after a 500, and resets the next request on it: none is kept then.
        self._session.hooks["response"].append(lambda r, **_: self.close() if r.status_code >= 500 else None)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=8))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def close(self) -> None:
        self._session.close()

    def send(
        self, endpoint: str, body: bytes, *, on_sent: Callable[[], None] = lambda: None, wait: float | None = None
    ) -> Received:
        """``POST /sdapi/v1/<endpoint>``, a generation: blocks until its answer is there. Never sent twice.

        Args:
            body: the payload as JSON.
            on_sent: called when all of it is on the wire.
            wait: seconds until the answer, ``timeouts.generation`` by default; 0: no limit, the caller sees to that.

        Raises:
            AnswerLost: it was sent, and no answer came.
            WebUIError: see :mod:`webui.errors`.
        """
        asked = self._name("POST", f"/sdapi/v1/{endpoint}")
        limit = self.timeouts.generation if wait is None else wait
        try:
            response = self._session.post(
                f"{self.base_url}/sdapi/v1/{endpoint}",
                data=_Body(body, on_sent),
                headers={"Content-Type": "application/json"},
                timeout=(self.timeouts.connect, limit or None),
            )
        except requests.ConnectTimeout as error:
            raise Unreachable(self._unreachable(asked, error)) from None
        except requests.Timeout:
            raise AnswerLost(
                f"{asked} was not answered in {limit:g} s. "
                "If pictures really take that long, raise the connection's generation time-out"
            ) from None
        except requests.ConnectionError as error:
            if _was_not_sent(error):
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

    def ask(self, method: str, path: str, *, timeout: float | None = None, **arguments: Any) -> requests.Response:
        """A short call's answer as it came, whatever its status; ``arguments`` as requests takes them.

        Raises:
            Unreachable: there was none.
        """
        asked = self._name(method, path)
        seconds = timeout or self.timeouts.call
        limits, once_more = (self.timeouts.connect, seconds), method == "GET"
        while True:  # a server closes an idle connection whenever it likes: a GET that came just then is sent once more
            try:
                return self._session.request(method, self.base_url + path, timeout=limits, **arguments)
            except requests.ReadTimeout:
                raise CallTimedOut(f"{asked} was not answered in {seconds:g} s: the WebUI is busy or hangs") from None
            except requests.RequestException as error:
                if not once_more or type(error) is not requests.ConnectionError or _was_not_sent(error):
                    raise Unreachable(self._unreachable(asked, error)) from None
                once_more = False

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        """A short call's decoded JSON; see :meth:`ask`."""
        return _json(self._name(method, path), self.ask(method, path, **arguments))

    def _get(self, kind: type[T], path: str, **arguments: Any) -> T:
        return self._parse(kind, path, self._call("GET", path, **arguments))

    def _list(self, kind: type[T], path: str) -> list[T]:
        return self._get(list[kind], path)  # type: ignore[valid-type]  # a type made here

    def _parse(self, kind: type[T], path: str, body: Any) -> T:
        try:
            return _adapter(kind).validate_python(body)  # type: ignore[arg-type]  # mypy: a type is not hashable
        except ValidationError as error:
            raise BadAnswer(f"{self._name('GET', path)} was answered in an unknown form: {error}") from None

    def _name(self, method: str, path: str) -> str:
        return f"{method} {self.base_url}{path}"

    def _unreachable(self, asked: str, error: Exception) -> str:
        return f"{asked} could not be reached ({_cause(error)}). Is the WebUI running, with --api, at this address?"


class Received:
    """A generation's answer as it came over the wire: ``content``. It is decoded when asked for, in milliseconds."""

    def __init__(self, asked: str, response: requests.Response) -> None:
        self._asked, self._response, self.content = asked, response, response.content

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


def _was_not_sent(error: BaseException) -> bool:
    """Whether a request never left: nobody listened, there is no such host, or its certificate was refused."""
    return isinstance(_innermost(error), NewConnectionError | ssl.SSLError)


def _innermost(error: BaseException) -> BaseException:
    """The reason in the middle: requests wraps it up to three deep, in ``reason`` or among the arguments."""
    inner = getattr(error, "reason", None)
    if not isinstance(inner, BaseException):
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
    return error if inner is None else _innermost(inner)


def _cause(error: BaseException) -> str:
    """The innermost reason in words, without the address that precedes it."""
    reason = _innermost(error)
    return str(reason).rpartition(": ")[2] or type(reason).__name__
