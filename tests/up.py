"""A running `darkroom up` for tests: a real Prefect server, a real worker, the embedded WebUI over a socket.

`darkroom up` runs as a process of its own, as for a person; the WebUI runs in the test's process, so that tests can
count its requests, hold its steps and arm its faults.
"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from services.stack import SERVER_PORT
from tests.rest import PROJECT, Rest, environment
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI

UP_WITHIN = 150  # seconds; two shared cores, a first start that creates the database


@dataclass
class Up(Rest):
    """A running `darkroom up`, asked over Prefect's REST API as the UI does."""

    home: Path
    webui: EmbeddedWebUI
    api: str = ""
    process: subprocess.Popen[bytes] | None = None
    asked_before: int = 0

    @property
    def gallery(self) -> Path:
        return self.home / "gallery"

    @property
    def log(self) -> Path:
        return self.home / "up.log"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def begin(self) -> None:
        """Start it, and wait until it says that it is up.

        On another port than Prefect's own: a `darkroom up` of a test beside this one would take that while a server
        that was killed here is being started again.
        """
        with self.log.open("wb") as out, ExitStack() as taken:
            with suppress(OSError):  # somebody has it
                taken.enter_context(socket.create_server(("127.0.0.1", SERVER_PORT)))
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.app", "up"],
                cwd=PROJECT,
                env=fast(self.home, DARKROOM_WEBUI_URL=self.webui.url),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            until(
                "darkroom is up",
                lambda: "Ctrl-C stops everything" in self.log.read_text() or not self.alive,
                UP_WITHIN,
            )
        assert self.alive, self.log.read_text()
        address = next(line.split()[1] for line in self.log.read_text().splitlines() if line.startswith("Prefect "))
        self.api = f"{address}/api"

    def end(self) -> None:
        """Stop it as Ctrl-C does; nothing that it started may be left."""
        if self.process is None:
            return
        children = psutil.Process(self.process.pid).children(recursive=True) if self.alive else []
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        left = [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        assert not left, f"darkroom up left {left}"

    def last_words(self) -> str:
        """The end of what `darkroom up` said."""
        return " | ".join(self.log.read_text().splitlines()[-4:])[-600:]

    def check(self) -> None:
        assert self.alive, f"darkroom up has ended: {self.last_words()}"

    def start(self, job: dict[str, Any], deployment: str = "generate/generate", **parameters: Any) -> str:
        """Queue a job, or with an empty one a run with these parameters; returns the run's id."""
        return self.create(deployment, {"job": job, **parameters} if job else parameters)

    def ends(self, run: str) -> dict[str, Any]:
        """Wait for a run's end; returns it. Fails with the ends of the logs."""
        try:
            return self.ended(run)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def is_in(self, run: str, kind: str) -> dict[str, Any]:
        return until(f"{run} is {kind}", lambda: found if (found := self.run(run))["state_type"] == kind else None)

    def all_artifacts(self, run: str) -> list[dict[str, Any]]:
        return self.call("POST", "/artifacts/filter", {"flow_runs": {"id": {"any_": [run]}}, "limit": 100})

    def artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        newest_last = sorted(self.all_artifacts(run), key=lambda artifact: artifact["created"])
        return {artifact["key"]: artifact for artifact in newest_last if artifact["key"]}

    def task_names(self, run: str) -> list[str]:
        body = {"flow_runs": {"id": {"any_": [run]}}, "limit": 200}
        return [task["name"] for task in self.call("POST", "/task_runs/filter", body)]

    def painted(self) -> list[tuple[str, Any]]:
        """The generations that the WebUI was asked for since the last reset.

        Without checkpoint switches, and without the small picture after out of memory.
        """
        asked = list(self.webui.requests)[self.asked_before :]
        return [
            (path.rpartition("/")[2], body)
            for method, path, task_id, body in asked
            if path.endswith(("2img", "extra-single-image")) and not re.search("-checkpoint-|canary", str(task_id))
        ]

    def forget(self) -> None:
        """Count from here."""
        self.asked_before = len(self.webui.requests)

    def arm(self, **fault: Any) -> None:
        response = requests.post(f"{self.webui.url}/faults", json=fault, timeout=10)
        assert response.ok, response.text

    def tail(self) -> str:
        logs = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in logs)


def fast(home: Path, **more: str) -> dict[str, str]:
    """The environment of a person who has set nothing, but what makes tests wait."""
    # Prefect lays out a schedule's runs in a loop: every 60 s by default.
    shorter = {"DARKROOM_RETRY_BACKOFF": "0.1", "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2"}
    return environment(home, **shorter) | more
