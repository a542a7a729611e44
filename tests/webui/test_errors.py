"""Which answers become which errors; read from what a real Forge answered."""

from __future__ import annotations

import inspect
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webui import errors
from webui.errors import (
    BODY_SHOWN,
    CallFailed,
    NotAuthenticated,
    NotFound,
    OutOfMemory,
    Rejected,
    Unavailable,
    WebUIError,
    from_status,
    is_transient,
)

RECORDED = Path(__file__).parents[1] / "contract" / "recordings" / "errors"
TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, WebUIError)]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"detail": "Not authenticated"}, NotAuthenticated),
        (403, "Forbidden", NotAuthenticated),
        (404, {"detail": "Not Found"}, NotFound),
        (422, {"detail": [{"loc": ["body", "steps"], "msg": "Input should be a valid integer"}]}, Rejected),
        (500, {"error": "OutOfMemoryError", "detail": "", "body": "", "message": "CUDA out of memory."}, OutOfMemory),
        (500, {"error": "RuntimeError", "message": "CUDA error: out of memory"}, OutOfMemory),
        (500, {"error": "NansException", "message": "A tensor with all NaNs"}, CallFailed),
        (502, "<html>Bad Gateway</html>", Unavailable),
        (503, "", Unavailable),
        (504, "upstream timed out", Unavailable),
        (418, None, CallFailed),
    ],
)
def test_a_status_becomes_its_error(status: int, body: object, kind: type[CallFailed]) -> None:
    error = from_status("POST http://host/sdapi/v1/txt2img", status, body)
    assert type(error) is kind
    assert "POST http://host/sdapi/v1/txt2img" in str(error)
    assert str(status) in str(error)
    assert error.status == status


def recorded_errors() -> Iterator[Any]:
    for path in sorted(RECORDED.glob("*.json")):
        recording = json.loads(path.read_text())
        exchange = recording.get("r", recording) if isinstance(recording, dict) else {}
        if isinstance(exchange.get("status"), int) and exchange["status"] != 200:
            yield pytest.param(exchange["status"], exchange.get("body", exchange.get("json")), id=path.stem)


def test_there_are_recorded_errors_of_every_kind() -> None:
    assert {param.values[0] for param in recorded_errors()} >= {404, 422, 500}


@pytest.mark.parametrize(("status", "body"), recorded_errors())
def test_a_recorded_error_says_what_the_webui_said(status: int, body: Any) -> None:
    error = from_status("POST /x", status, body)
    expected = {404: NotFound, 422: Rejected}.get(status, CallFailed)
    assert type(error) is expected
    assert not is_transient(error), "the same request gives the same error"
    if isinstance(body, dict):
        said = body.get("message") or body.get("error") or body.get("detail")
        assert str(said)[:40] in str(error)


def test_a_long_body_is_cut() -> None:
    assert len(str(from_status("GET /", 502, "x" * 10_000))) < BODY_SHOWN + 200


def test_the_docstring_draws_the_whole_tree_with_what_is_transient() -> None:
    drawn = dict(re.findall(r"[│├└─ ]*\b([A-Z]\w+)\b(.*)", inspect.getdoc(errors).split("``is_transient``")[0]))
    assert {kind.__name__ for kind in TREE} <= set(drawn)
    for kind in TREE:
        assert kind.transient == ("(transient)" in drawn[kind.__name__]), kind


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_an_error_survives_being_stored_with_its_run(kind: type[WebUIError]) -> None:
    """Prefect makes a stored error again from its class and message alone; pickle from its arguments."""
    error = from_status("GET /", 404, {"detail": "gone"}) if issubclass(kind, CallFailed) else kind("gone")
    for again in (pickle.loads(pickle.dumps(error)), type(error)(str(error))):
        assert str(again) == str(error)
        assert is_transient(again) == is_transient(error)


def test_only_our_own_errors_are_transient() -> None:
    assert not is_transient(ConnectionError("not ours"))
    assert not is_transient(ValueError())
