"""A gateway as a process of its own, in front of a real Prefect server, a real worker and the embedded WebUI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from services.process import Child
from tests.servers import Prefect, free_port


@dataclass
class Gateway:
    url: str
    prefect: Prefect
    child: Child

    def call(self, method: str, path: str, body: Any = None, *, status: int = 200, client: str = "test") -> Any:
        headers = {"User-Agent": client}
        answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=120)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None


def start(prefect: Prefect, port: int) -> Child:
    application = ["gateway.app:application", "--factory", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "uvicorn", *application, "--no-access-log"]
    child = Child("gateway", command, log=prefect.home / "gateway.log", env=prefect.environment())
    child.wait_until(lambda: child.listens_on(port), 60)
    return child


@pytest.fixture(scope="module")
def served(deployed: Prefect) -> Iterator[Gateway]:
    """A gateway, and a worker beside it; gone after these tests, for others start workers of their own there."""
    port = free_port()
    with deployed.worker():
        gateway = Gateway(f"http://127.0.0.1:{port}", deployed, start(deployed, port))
        yield gateway
        gateway.child.stop()


@pytest.fixture
def gateway(served: Gateway) -> Gateway:
    return served
