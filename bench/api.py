"""Prefect's REST API, as the UI uses it. No Prefect is imported: the bench takes no time from what it measures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import requests

GOING = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]  # states that a run leaves again
# Seconds between two looks at the runs that are waited for. A look is a count of those that have ended: reading them
# all, four times a second, would take a tenth of the server's time from what is measured.
LOOK_EVERY = 0.5


class RunsFailed(RuntimeError):
    """Runs of the bench did not complete; the figure would be none."""


class Api:
    """The API at ``url``, which ends with ``/api``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()

    def post(self, path: str, **body: Any) -> Any:
        return self._answer("POST", path, body)

    def get(self, path: str) -> Any:
        return self._answer("GET", path)

    def patch(self, path: str, **body: Any) -> Any:
        return self._answer("PATCH", path, body)

    def _answer(self, method: str, path: str, body: Any = None) -> Any:
        for attempt in range(5):
            answer = self._session.request(method, self.url + path, json=body, timeout=150)
            if answer.status_code != 503:  # 503: SQLite was locked; Prefect's own client waits and repeats as well
                break
            time.sleep(0.2 * 2**attempt)
        if answer.status_code >= 400:
            raise RuntimeError(f"{method} {path} was answered {answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def deployment(self, name: str, *, entrypoint: str, pool: str, **parameters: Any) -> str:
        """Create the deployment ``name`` (flow/deployment) in a pool; returns its id."""
        flow, _, own = name.partition("/")
        flow_id = self.post("/flows/", name=flow)["id"]
        created = self.post(
            "/deployments/",
            name=own,
            flow_id=flow_id,
            entrypoint=entrypoint,
            work_pool_name=pool,
            pull_steps=[],
            parameters=parameters,
            enforce_parameter_schema=False,
            parameter_openapi_schema={"type": "object", "properties": {}},
        )
        return str(created["id"])

    def deployment_id(self, name: str) -> str:
        return str(self.get(f"/deployments/name/{name}")["id"])

    def trigger(self, deployment: str, parameters: dict[str, Any], **more: Any) -> str:
        """A flow run, now, as the UI's Quick run makes it; returns its id."""
        state = {"type": "SCHEDULED", "name": "Scheduled"}
        run = self.post(f"/deployments/{deployment}/create_flow_run", parameters=parameters, state=state, **more)
        return str(run["id"])

    def runs(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        wanted = list(ids)
        found: list[dict[str, Any]] = []
        for start in range(0, len(wanted), 200):
            some = {"id": {"any_": wanted[start : start + 200]}}
            found += self.post("/flow_runs/filter", flow_runs=some, limit=200)
        return found

    def wait(self, ids: Iterable[str], within: float, check: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
        """The runs, when all have completed.

        Args:
            within: seconds until that must be so.
            check: called at each look; raises when waiting makes no sense any more.

        Raises:
            RunsFailed: one of them failed, or did not end in time.
        """
        wanted = list(ids)
        deadline = time.monotonic() + within
        check()
        while self._ended(wanted) < len(wanted) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
            check()
        runs = self.runs(wanted)
        for run in runs:
            if run["state_type"] not in ("COMPLETED", *GOING):
                message = (run.get("state") or {}).get("message")
                raise RunsFailed(f"{run['name']}, one of {len(wanted)} runs, is {run['state_type']}: {message}")
        if late := [run for run in runs if run["state_type"] in GOING]:
            raise RunsFailed(f"{len(late)} of {len(wanted)} runs had not ended after {within:g} s")
        return runs

    def _ended(self, ids: list[str]) -> int:
        ended = {"id": {"any_": ids}, "state": {"type": {"not_any_": GOING}}}
        return int(self.post("/flow_runs/count", flow_runs=ended))

    def progress(self, run: str) -> float | None:
        """Percent of the whole job, as the API has it now."""
        found = self.post(
            "/artifacts/filter",
            artifacts={"flow_run_id": {"any_": [run]}, "key": {"any_": ["job-progress"]}},
            limit=1,
        )
        return float(found[0]["data"]) if found else None
