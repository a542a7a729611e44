"""A request that is too large is refused, whatever it says of its length."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import requests
from fastapi import Body, FastAPI

from services.bodies import BoundedBodies
from services.prefect_server import WriteMiddleware
from tests.services.serving import served

MOST = 1000


@pytest.fixture(params=["FastAPI", "Prefect's"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    app = FastAPI()

    @app.post("/")
    def length(numbers: list[int] = Body()) -> int:
        return len(numbers)

    inner = app if request.param == "FastAPI" else WriteMiddleware(app)
    with served(BoundedBodies(inner, MOST)) as port:
        yield f"http://127.0.0.1:{port}/"
    gc.unfreeze()


def test_a_request_is_bounded_by_what_it_says_and_by_what_comes(url: str) -> None:
    def sent(numbers: int) -> Iterator[bytes]:
        yield b"[" + b",".join([b"1"] * numbers) + b"]"

    def post(data: bytes | Iterator[bytes]) -> requests.Response:
        return requests.post(url, data=data, headers={"Content-Type": "application/json"}, timeout=30)

    assert post(b"".join(sent(400))).json() == 400
    for data in (b"".join(sent(600)), sent(600)):  # the second in chunks, without a Content-Length
        answer = post(data)
        assert answer.status_code == 413
        assert answer.json() == {"detail": "a request of at most 1,000 bytes is taken"}
    assert post(sent(400)).json() == 400
