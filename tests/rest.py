"""A Prefect server as the tests ask it, over REST as the UI does, and the processes of a Darkroom that uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.waiting import WITHIN, until

PROJECT = Path(__file__).resolve().parents[1]
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a person who has set nothing, with the project's state in ``home``."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "DARKROOM_"))}
    ours = {"DARKROOM_HOME": str(home)} | {f"DARKROOM_{one.upper()}": str(home / one) for one in ("gallery", "inputs")}
    return clean | ours | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"} | more


def processes_with(name: str, value: str) -> list[psutil.Process]:
    """The living processes that have this variable in their environment, the oldest first."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return sorted(found, key=lambda one: one.create_time())


def left_by(home: Path) -> list[psutil.Process]:
    """The processes that work for this home."""
    return processes_with("DARKROOM_HOME", str(home))


def darkroom(variables: dict[str, str], *arguments: str, within: float = 140) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end; in these environment variables."""
    command = [sys.executable, "-m", "cli.app", *arguments]
    return subprocess.run(command, env=variables, cwd=PROJECT, capture_output=True, text=True, timeout=within)


class Rest:
    """Prefect's API at ``api``."""

    api: str

    def check(self) -> None:
        """Called while the server does not answer. Raises AssertionError where waiting makes no sense."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask; a server that is being started again, or whose SQLite was locked (503), is asked again."""

        def ask() -> requests.Response | None:
            try:
                answer = requests.request(method, f"{self.api}{path}", json=body, timeout=60)
            except requests.ConnectionError:
                self.check()
                return None
            return answer if answer.status_code != 503 else None

        answer = until(f"{method} {path} is answered", ask, 60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def deployment(self, name: str = "generate/generate") -> dict[str, Any]:
        return self.call("GET", f"/deployments/name/{name}")

    def create(self, deployment: str, parameters: dict[str, Any], **more: Any) -> str:
        """Create a flow run, as the form's Submit does; returns its id."""
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, **more}
        return self.call("POST", f"/deployments/{self.deployment(deployment)['id']}/create_flow_run", body)["id"]

    def run(self, run: str) -> dict[str, Any]:
        return self.call("GET", f"/flow_runs/{run}")

    def ended(self, run: str, within: float = WITHIN) -> dict[str, Any]:
        """Wait for a run's end; returns it."""
        return until(f"{run} ends", lambda: a if (a := self.run(run))["state_type"] in FINAL else None, within)

    def set_state(self, run: str, kind: str, name: str | None = None, *, force: bool = False) -> None:
        state = {"type": kind, "name": name}
        self.call("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": force})

    def retry(self, run: str) -> None:
        """What the UI's Retry button does."""
        self.set_state(run, "SCHEDULED", "AwaitingRetry")

    def states(self, run: str) -> list[dict[str, Any]]:
        """The states that a run has had."""
        return self.call("GET", f"/flow_run_states/?flow_run_id={run}")

    def logs(self, run: str) -> list[str]:
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200, "sort": "TIMESTAMP_ASC"}
        return [entry["message"] for entry in self.call("POST", "/logs/filter", body)]
