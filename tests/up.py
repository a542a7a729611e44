"""A running `darkroom up` for tests: a real Prefect server, a real worker, the embedded WebUI over a socket.

`darkroom up` runs as a process of its own, as for a person; the WebUI runs in the test's process, so that tests can
count its requests, hold its steps and arm its faults.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI

PROJECT = Path(__file__).resolve().parents[1]
UP_WITHIN = 150  # seconds; two shared cores, a first start that creates the database
RUN_WITHIN = 90


@dataclass
class Up:
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
        """Start it, and wait until it says that it is up."""
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.app", "up"],
                cwd=PROJECT,
                env=environment(self.home, DARKROOM_WEBUI_URL=self.webui.url),
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

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Prefect's API; a server that is away for up to a minute is waited for."""

        def ask() -> requests.Response | None:
            try:
                answer = requests.request(method, f"{self.api}{path}", json=body, timeout=60)
            except requests.ConnectionError:
                assert self.alive, f"darkroom up has ended: {self.last_words()}"
                return None  # the server is being started again
            return answer if answer.status_code != 503 else None  # SQLite was locked: Prefect's own client asks again

        response = until(f"{method} {path} is answered", ask, 60)
        assert response.ok, f"{method} {path}: {response.status_code} {response.text[:500]}"
        return response.json() if response.content else None

    def deployment(self, name: str = "generate/generate") -> dict[str, Any]:
        return self.call("GET", f"/deployments/name/{name}")

    def start(self, job: dict[str, Any], deployment: str = "generate/generate", **parameters: Any) -> str:
        """Create a flow run, as the form's Submit does; returns its id."""
        given = {"job": job, **parameters} if job else parameters
        body = {"parameters": given, "state": {"type": "SCHEDULED"}}
        return self.call("POST", f"/deployments/{self.deployment(deployment)['id']}/create_flow_run", body)["id"]

    def run(self, run: str) -> dict[str, Any]:
        return self.call("GET", f"/flow_runs/{run}")

    def set_state(self, run: str, kind: str, name: str | None = None) -> None:
        self.call("POST", f"/flow_runs/{run}/set_state", {"state": {"type": kind, "name": name}, "force": False})

    def retry(self, run: str) -> None:
        """What the UI's Retry button does."""
        self.set_state(run, "SCHEDULED", "AwaitingRetry")

    def ends(self, run: str, within: float = RUN_WITHIN) -> dict[str, Any]:
        """Wait for a run's end; returns it."""
        ended = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        return until(
            f"the run {run} ends ({self.tail()})",
            lambda: (found := self.run(run)) if (found := self.run(run))["state_type"] in ended else None,
            within,
        )

    def is_in(self, run: str, kind: str) -> dict[str, Any]:
        return until(f"{run} is {kind}", lambda: found if (found := self.run(run))["state_type"] == kind else None)

    def all_artifacts(self, run: str) -> list[dict[str, Any]]:
        return self.call("POST", "/artifacts/filter", {"flow_runs": {"id": {"any_": [run]}}, "limit": 100})

    def artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        newest_last = sorted(self.all_artifacts(run), key=lambda artifact: artifact["created"])
        return {artifact["key"]: artifact for artifact in newest_last if artifact["key"]}

    def logs(self, run: str) -> list[str]:
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200, "sort": "TIMESTAMP_ASC"}
        return [entry["message"] for entry in self.call("POST", "/logs/filter", body)]

    def task_names(self, run: str) -> list[str]:
        body = {"flow_runs": {"id": {"any_": [run]}}, "limit": 200}
        return [task["name"] for task in self.call("POST", "/task_runs/filter", body)]

    def painted(self) -> list[tuple[str, Any]]:
        """The generations that the WebUI was asked for since the last reset, checkpoint switches left out."""
        asked = list(self.webui.requests)[self.asked_before :]
        return [
            (path.rpartition("/")[2], body)
            for method, path, task_id, body in asked
            if path.endswith(("2img", "extra-single-image")) and "-checkpoint-" not in str(task_id)
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


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a person who has set nothing, with the project's state in ``home``."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "DARKROOM_"))}
    return clean | {
        "DARKROOM_HOME": str(home),
        "DARKROOM_GALLERY": str(home / "gallery"),
        "DARKROOM_RETRY_BACKOFF": "0.1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Prefect lays out a schedule's runs in a loop: every 60 s by default.
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
        **more,
    }
