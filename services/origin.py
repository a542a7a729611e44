"""Whose requests a server of ours takes: those of programs, and of its own pages.

Any page that is open in a browser can send requests to this machine. CORS hides the answers from it, but stops neither
WebSockets nor requests without a body; and a name that its owner points to 127.0.0.1 (DNS rebinding) makes that page
the server's own. What gives a page away are headers that a browser sets and no page can: ``Host`` (the name that the
browser was asked for), ``Origin`` and ``Sec-Fetch-Site`` (whose page asks). A program that sends no ``Origin`` is let
through: it runs on this machine, or came past the password of a public address.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def why_refused(scope: Scope, public: str = "") -> str:
    """Why a request over HTTP or WebSocket is not taken; empty: it is.

    Args:
        scope: as ASGI describes the request.
        public: a public address, such as ``http://host:4200``; it, and this server's port under the same name, are
            own pages.
    """
    headers, port = Headers(scope=scope), (scope.get("server") or ("", None))[1]
    pages = [f"http://{name}" if port == 80 else f"http://{name}:{port}" for name in LOOPBACK]
    if public:
        pages += [public, f"{urlsplit(public).scheme}://{urlsplit(public).hostname}:{port}"]
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    if not hosts or not {host.lower() for host in hosts} <= {urlsplit(page).netloc for page in pages}:
        return f"it asks for the host {', '.join(hosts) or '(none)'}"
    if not {origin.lower() for origin in origins} <= {*pages}:
        return f"it comes from a page of {', '.join(origins)}"
    # A browser sends no Origin with a GET for a picture, a script, a frame or a link. A link may lead to our pages.
    link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if not origins and not link and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return "it comes from a page of another site"
    return ""


class OwnPagesOnly:
    """An ASGI application around another: answers 403 to what :func:`why_refused` refuses."""

    def __init__(self, application: ASGIApp, public: str = "") -> None:
        self._application, self._public = application, public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and (why := why_refused(scope, self._public)):
            detail = f"Refused: {why}. Under another name than localhost, set DARKROOM_PUBLIC_ADDRESS=http://name:port"
            await JSONResponse({"detail": detail}, 403)(scope, receive, send)
        else:
            await self._application(scope, receive, send)


class PasswordDemanded:
    """An ASGI application around another: answers 401 to what comes without the password, by HTTP's basic auth.

    Args:
        secret: ``user:password``, as Prefect has it. Any user is let in by the password: a client's user is its name.
    """

    def __init__(self, application: ASGIApp, secret: str) -> None:
        self._application, self._password = application, secret.partition(":")[2]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._is_known(Headers(scope=scope)):
            detail = (
                "Not authenticated: basic auth with the password of PREFECT_SERVER_API_AUTH_STRING, and any user name"
            )
            refusal = JSONResponse({"detail": detail}, 401, {"WWW-Authenticate": 'Basic realm="Darkroom"'})
            await refusal(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    def _is_known(self, headers: Headers) -> bool:
        kind, _, encoded = headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(encoded).partition(b":")[2]
        except binascii.Error:
            return False
        return kind.lower() == "basic" and hmac.compare_digest(given, self._password.encode())
