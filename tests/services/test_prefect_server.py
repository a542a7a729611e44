"""What the server that `darkroom up` starts adds to Prefect's."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from services import prefect_server
from services.environment import SERVER
from services.prefect_server import PAUSES, WriteMiddleware
from services.process import Child
from services.stack import server_on
from tests.servers import Prefect, free_port
from tests.services.serving import served
from tests.waiting import until

PATIENCE = 30


class Refusing:
    """Stands for Prefect on SQLite: refuses so many requests, as Prefect does, by answering 503 and raising."""

    def __init__(self) -> None:
        self.refuse = 0
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for answer in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
                await receive()
                await send({"type": answer})
            return
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        self.bodies.append(body + message["body"])
        refused = len(self.bodies) <= self.refuse
        await send({"type": "http.response.start", "status": 503 if refused else 201, "headers": []})
        await send({"type": "http.response.body", "body": b"refused" if refused else b"done"})
        if refused:
            raise RuntimeError("database is locked")


@pytest.fixture
def prefect() -> Iterator[tuple[str, Refusing]]:
    refusing = Refusing()
    with served(WriteMiddleware(refusing)) as port:
        yield f"http://127.0.0.1:{port}", refusing
    gc.unfreeze()


def test_what_sqlite_refused_is_done_without_the_client_hearing_of_it(prefect: tuple[str, Refusing]) -> None:
    url, refusing = prefect
    refusing.refuse = 2
    body = b"x" * 200_000
    answer = requests.post(url, data=body, timeout=PATIENCE)
    assert (answer.status_code, answer.text) == (201, "done")
    assert refusing.bodies == [body] * 3


def test_a_refusal_to_the_end_is_answered_as_before(
    prefect: tuple[str, Refusing], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, refusing = prefect
    monkeypatch.setattr(prefect_server, "PAUSES", (0.0,) * len(PAUSES))
    refusing.refuse = 1000
    answer = requests.post(url, data=b"x", timeout=PATIENCE)
    assert (answer.status_code, answer.text) == (503, "refused")
    assert len(refusing.bodies) == len(PAUSES) + 1


def test_reading_is_not_tried_again(prefect: tuple[str, Refusing]) -> None:
    url, refusing = prefect
    refusing.refuse = 1
    assert requests.get(url, timeout=PATIENCE).status_code == 503
    assert len(refusing.bodies) == 1


@pytest.mark.parametrize(
    ("poison", "says"),
    [
        ('"half an emoji: \\ud83d"', "surrogate"),
        (str(2**70), "Integer"),
        ("[" * 300 + "]" * 300, "Recursion"),
        ('{"\\udc00": 1}', "surrogate"),
    ],
)
def test_what_could_not_be_returned_is_refused_with_the_reason(
    prefect: tuple[str, Refusing], poison: str, says: str
) -> None:
    url, refusing = prefect
    body = f'{{"parameters": {{"job": {poison}}}}}'
    answer = requests.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=PATIENCE)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert refusing.bodies == []


@pytest.mark.parametrize(
    "body", [json.dumps("a whole emoji: 😀").encode(), "plain: 😀".encode(), b"", b"\xff", b"{", b"[NaN]"]
)
def test_every_other_body_is_passed_on(prefect: tuple[str, Refusing], body: bytes) -> None:
    url, refusing = prefect
    assert requests.post(url, data=body, timeout=PATIENCE).status_code == 201
    assert refusing.bodies == [body]


def test_the_artifacts_of_a_deleted_run_go(tmp_path: Path) -> None:
    """Prefect 3.8.8 keeps them for ever by default."""
    port = free_port()
    prefect = Prefect(f"http://127.0.0.1:{port}/api", tmp_path)
    often = prefect.environment(**SERVER, PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS="1")
    server = Child("server", [sys.executable, "-m", *server_on(port)], log=tmp_path / "log", env=often)
    try:
        server.wait_until(lambda: server.listens_on(port), 120)
        flow = prefect.call("POST", "/flows/", {"name": "any"})["id"]
        kept, deleted = (prefect.call("POST", "/flow_runs/", {"flow_id": flow})["id"] for _ in range(2))
        for run in (kept, deleted):
            prefect.call("POST", "/artifacts/", {"key": "sheet", "data": "x", "flow_run_id": run})
        prefect.call("DELETE", f"/flow_runs/{deleted}")
        until("one is left", lambda: len(prefect.call("POST", "/artifacts/filter", {})) == 1)
        assert prefect.call("POST", "/artifacts/filter", {})[0]["flow_run_id"] == kept
    finally:
        server.stop()
