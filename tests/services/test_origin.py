"""Whose requests the Prefect server that we start takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import websockets
from hypothesis import given
from hypothesis import strategies as st

from services.environment import public_address
from services.origin import OwnPagesOnly, PasswordDemanded, why_refused
from store.settings import settings
from tests.services.serving import served

PATIENCE = 30
PUBLIC = "http://gpu-box.lan:4200"


def scope(port: int = 4200, /, **headers: str) -> dict[str, Any]:
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "server": ("127.0.0.1", port), "headers": given}


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:4200"},  # a program
        {"host": "LOCALHOST:4200", "origin": "http://localhost:4200"},
        {"host": "127.0.0.1:4200", "origin": "http://localhost:4200"},  # the page under the one name, its API under
        {"host": "[::1]:4200", "sec_fetch_site": "same-origin"},
        {"host": "127.0.0.1:4200", "sec_fetch_site": "none", "sec_fetch_mode": "navigate"},  # typed in
        {
            "host": "127.0.0.1:4200",
            "sec_fetch_site": "cross-site",
            "sec_fetch_mode": "navigate",
            "sec_fetch_dest": "document",
        },  # a link that somebody follows
    ],
)
def test_programs_and_own_pages_are_let_in(headers: dict[str, str]) -> None:
    assert why_refused(scope(**headers)) == ""


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "host (none)"),
        ({"host": ""}, "host"),
        ({"host": "evil.example:4200"}, "host evil.example:4200"),  # DNS rebinding
        ({"host": "127.0.0.1"}, "host 127.0.0.1"),
        ({"host": "127.0.0.1:4201"}, "host"),
        ({"host": "127.0.0.1:4200@evil.example"}, "host"),
        ({"host": "gpu-box.lan:4200"}, "host gpu-box.lan:4200"),
        ({"host": "127.0.0.1:4200", "origin": "http://evil.example"}, "page of http://evil.example"),
        ({"host": "127.0.0.1:4200", "origin": "null"}, "page of null"),
        ({"host": "127.0.0.1:4200", "origin": ""}, "page of"),
        ({"host": "127.0.0.1:4200", "origin": "http://127.0.0.1:8000"}, "page of http://127.0.0.1:8000"),
        ({"host": "127.0.0.1:4200", "origin": "https://127.0.0.1:4200"}, "page of https"),
        ({"host": "127.0.0.1:4200", "sec_fetch_site": "cross-site", "sec_fetch_dest": "image"}, "another site"),
        ({"host": "127.0.0.1:4200", "sec_fetch_site": "same-site", "sec_fetch_dest": "script"}, "another site"),
        (
            {
                "host": "127.0.0.1:4200",
                "sec_fetch_site": "cross-site",
                "sec_fetch_mode": "navigate",
                "sec_fetch_dest": "iframe",
            },
            "another site",
        ),
    ],
)
def test_pages_of_others_are_refused(headers: dict[str, str], says: str) -> None:
    assert says in why_refused(scope(**headers))


def test_one_strange_host_among_several_is_enough() -> None:
    twice = scope(host="127.0.0.1:4200")
    twice["headers"].append((b"host", b"evil.example"))
    assert why_refused(twice)


def test_the_public_address_is_one_of_its_pages() -> None:
    assert why_refused(scope(host="gpu-box.lan:4200", origin=PUBLIC), PUBLIC) == ""
    assert why_refused(scope(host="127.0.0.1:4200"), PUBLIC) == ""
    assert why_refused(scope(host="gpu-box.lan:4200", origin="http://gpu-box.lan"), PUBLIC)
    assert why_refused(scope(80, host="localhost", origin="http://localhost")) == ""
    # Another server of ours under the same name.
    assert why_refused(scope(7862, host="gpu-box.lan:7862", origin="http://gpu-box.lan:7862"), PUBLIC) == ""
    assert why_refused(scope(7862, host="gpu-box.lan:7863"), PUBLIC)


@given(host=st.text(st.characters(max_codepoint=255), max_size=40), origin=st.text(st.characters(max_codepoint=255)))
def test_no_other_host_or_origin_gets_in(host: str, origin: str) -> None:
    raw = [(b"host", host.encode("latin-1")), (b"origin", origin.encode("latin-1"))]
    assert why_refused({"type": "http", "server": ("127.0.0.1", 4200), "headers": raw})


async def answers_all(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "secret"})
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"secret"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(OwnPagesOnly(answers_all), lifespan="off") as port:
        yield port


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_every_method_is_refused_with_what_to_set(port: int, method: str) -> None:
    url = f"http://127.0.0.1:{port}/any/route"
    assert requests.request(method, url, timeout=PATIENCE).text == "secret"
    for headers in ({"Origin": "http://evil.example"}, {"Host": f"evil.example:{port}"}):
        answer = requests.request(method, url, headers=headers, timeout=PATIENCE)
        assert answer.status_code == 403
        assert "DARKROOM_PUBLIC_ADDRESS" in answer.json()["detail"]


def test_a_websocket_of_another_page_is_refused(port: int) -> None:
    async def opened(origin: str | None) -> str:
        async with websockets.connect(f"ws://127.0.0.1:{port}/api/events/out", origin=origin) as socket:  # type: ignore[arg-type]  # a NewType of str
            return str(await socket.recv())

    assert asyncio.run(opened(None)) == "secret"
    assert asyncio.run(opened(f"http://127.0.0.1:{port}")) == "secret"
    with pytest.raises(websockets.exceptions.InvalidStatus, match="403"):
        asyncio.run(opened("http://evil.example"))


@pytest.mark.parametrize(
    ("given_address", "is_"),
    [
        ("", ""),
        ("http://192.168.1.5:4200", "http://192.168.1.5:4200"),
        ("HTTP://GPU-Box.lan:80/", "http://gpu-box.lan"),
        ("https://darkroom.example:443", "https://darkroom.example"),
        ("http://host:8080", "http://host:8080"),
    ],
)
def test_a_public_address_is_written_as_browsers_do(
    monkeypatch: pytest.MonkeyPatch, given_address: str, is_: str
) -> None:
    monkeypatch.setattr(settings(), "public_address", given_address)
    assert public_address() == is_


@pytest.mark.parametrize(
    "wrong",
    ["host:4200", "ftp://host", "http://me:secret@host", "http://host/path", "http://host:0", "*"],
)
def test_what_is_no_public_address_is_said_without_repeating_it(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setattr(settings(), "public_address", wrong)
    with pytest.raises(ValueError, match="DARKROOM_PUBLIC_ADDRESS must be") as caught:
        public_address()
    assert "secret" not in str(caught.value)


def test_who_knows_the_password_is_let_in_under_any_user_name() -> None:
    with served(PasswordDemanded(answers_all, "me:a:long secret"), lifespan="off") as port:
        url = f"http://127.0.0.1:{port}/"
        for name in ("me", "krita", ""):
            assert requests.get(url, auth=(name, "a:long secret"), timeout=PATIENCE).ok
        for wrong in (None, ("me", "a"), ("me", ""), ("me:a", "long secret ")):
            refused = requests.get(url, auth=wrong, timeout=PATIENCE)
            assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="Darkroom"')
        for header in ("Basic", "Basic !", "Basic bWU6YQ", "Bearer bWU6YTpsb25nIHNlY3JldA=="):
            assert requests.get(url, headers={"Authorization": header}, timeout=PATIENCE).status_code == 401
