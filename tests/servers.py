"""A real Prefect server for these tests, asked over REST; commands and workers run as processes of their own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from services.process import Child
from tests.rest import Rest, darkroom, environment, processes_with
from tests.waiting import WITHIN, until
from webui.embedded.server import EmbeddedWebUI


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Prefect(Rest):
    """A server, and the home of a Darkroom that uses it."""

    api: str
    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        return environment(self.home, PREFECT_API_URL=self.api, PREFECT_HOME=str(self.home / "prefect")) | more

    def darkroom(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end."""
        return darkroom(self.environment(**environment), *arguments)

    def queue(
        self, checkpoint: str = "photo", *, steps: int = 1, name: str = "job", env: dict[str, str] | None = None
    ) -> str:
        """A run of a small job, with more variables in its process's environment; returns its id."""
        txt2img = {"prompt": "a lighthouse", "steps": steps, "width": 64, "height": 64, "seed": 1}
        job = {"name": name, "checkpoint": checkpoint, "txt2img": txt2img}
        return self.create("generate/generate", {"job": job}, **({"job_variables": {"env": env}} if env else {}))

    def ends(self, run: str, within: float = WITHIN) -> str:
        """The type of the state in which a run ended."""
        return str(self.ended(run, within)["state_type"])

    def processes(self, run: str) -> list[psutil.Process]:
        """The living processes that a run's own process id stands for: what the worker started."""
        return processes_with("PREFECT__FLOW_RUN_ID", run)

    @contextmanager
    def worker(self, **environment: str) -> Iterator[Child]:
        child = Child(
            "worker",
            [sys.executable, "-m", "cli.app", "worker"],
            log=self.home / "worker.log",
            env=self.environment(**environment),
        )
        try:
            child.wait_until(lambda: "darkroom worker: ready" in child.since_start(), 90)
            yield child
        finally:
            child.stop(30)


@contextmanager
def prefect_on(home: Path) -> Iterator[Prefect]:
    """A Prefect server as it comes, for a Darkroom in ``home``; nothing is deployed to it."""
    port = free_port()
    prefect = Prefect(f"http://127.0.0.1:{port}/api", home)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = Child("server", command, log=home / "server.log", env=prefect.environment())
    try:
        server.wait_until(lambda: server.listens_on(port), 120)
        until("the API is healthy", lambda: requests.get(f"{prefect.api}/health", timeout=10).ok)
        yield prefect
    finally:
        server.stop()


def paints(painter: EmbeddedWebUI, deployed: Prefect, run: str) -> bool:
    job = requests.get(f"{painter.url}/sdapi/v1/progress", timeout=10).json()["state"]
    return deployed.run(run)["state_type"] == "RUNNING" and job["sampling_step"] > 0


def start_and_wait(deployed: Prefect, held: EmbeddedWebUI) -> str:
    run = deployed.queue(steps=100, name="long")
    until("it paints", lambda: paints(held, deployed, run))
    return run


def webui_is_idle(painter: EmbeddedWebUI) -> bool:
    return requests.get(f"{painter.url}/sdapi/v1/progress", timeout=10).json()["state"]["job_count"] == 0
