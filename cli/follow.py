"""A run in the terminal: queued, watched with a bar and its log, ended with the pictures."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, Log, StateType
from prefect.client.schemas.sorting import LogSort
from prefect.states import Cancelling
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

LOOK = 0.5  # seconds between two looks at the run
STAGES = ("txt2img", "img2img", "adetailer", "upscale")
TOTAL = "job"
STATE_ONLY = "Finished in state Completed"  # Prefect's line for each task: the task's own line says more


def queue(client: SyncPrefectClient, deployment: str, name: str, parameters: dict[str, Any]) -> FlowRun:
    """A flow run with these parameters, scheduled through its deployment."""
    found = client.read_deployment_by_name(deployment)
    return client.create_flow_run_from_deployment(found.id, parameters=parameters, name=name)


class Follower:
    """Shows one run until it has ended; a context manager, so that the bar leaves the terminal as it was.

    On a terminal: a bar per stage and one for all, with the log above them. Elsewhere: plain lines.
    """

    def __init__(self, client: SyncPrefectClient, run: FlowRun, console: Console) -> None:
        self._client = client
        self._id: UUID = run.id
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:>10}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[text]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, int] = {}
        self._state = ""
        self._seen: set[UUID] = set()
        self._since: datetime | None = None

    def __enter__(self) -> Follower:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def until_ended(self, check: Callable[[], None] = lambda: None) -> FlowRun:
        """The run, once it is in a final state. ``check`` is called at each look and may raise."""
        while True:
            run = self._client.read_flow_run(self._id)
            ended = run.state is not None and run.state.is_final()
            if ended:
                self._wait_for_last_logs()
            self._show(run)
            if ended:
                return run
            check()
            time.sleep(LOOK)

    def cancel(self) -> FlowRun:
        """Ask Prefect to cancel the run, and wait until it is over."""
        self._line("cancelling; Ctrl-C again leaves without waiting")
        with suppress(Exception):  # ended at this moment
            self._client.set_flow_run_state(self._id, Cancelling())
        return self.until_ended()

    def _show(self, run: FlowRun) -> None:
        state = run.state
        if state is not None and state.name != self._state:
            self._state = state.name or ""
            because = f": {state.message}" if state.message and not state.is_completed() else ""
            if not state.is_final():
                self._line(f"{run.name}: {self._state}{because}")
        for log in self._new_logs():
            if not log.message.startswith(STATE_ONLY):
                self._line(log.message, log.level)
        self._show_progress()

    def _show_progress(self) -> None:
        artifacts = self._client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[self._id]))
        )
        for artifact in sorted(artifacts, key=lambda one: (one.key == "job-progress", str(one.created))):
            name = (artifact.key or "").removesuffix("-progress")
            if artifact.type != "progress" or not isinstance(artifact.data, (int, float)):
                continue
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task("all" if name == TOTAL else name, total=100, text="")
            text = (artifact.description or "").partition(": ")[2]
            self._bars.update(self._tasks[name], completed=artifact.data, text="" if name == TOTAL else text)  # type: ignore[arg-type]

    def _new_logs(self) -> list[Log]:
        logs = self._client.read_logs(
            LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self._id])),
            limit=200,
            offset=len(self._seen),
            sort=LogSort.TIMESTAMP_ASC,
        )
        new = [log for log in logs if log.id not in self._seen]
        self._seen |= {log.id for log in new}
        return new

    def _wait_for_last_logs(self) -> None:
        """A run's process sends its last log lines when it ends, a little after its last state."""
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            if any("Finished in state" in log.message for log in self._peek()):
                return
            time.sleep(0.2)

    def _peek(self) -> list[Log]:
        return self._client.read_logs(
            LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self._id])), limit=5, sort=LogSort.TIMESTAMP_DESC
        )

    def _line(self, text: str, level: int = 20) -> None:
        style = "red" if level >= 40 else "yellow" if level >= 30 else "dim" if level <= 20 else ""
        self._console.print(text, style=style, highlight=False, markup=False)


def report(run: FlowRun, ui_url: str, console: Console) -> int:
    """Say how the run ended; returns the exit code: 0 for pictures, 1 for a failure, 130 for a cancel."""
    link = f"{ui_url}/runs/flow-run/{run.id}"
    state = run.state
    assert state is not None
    if state.type == StateType.COMPLETED:
        for path in _pictures(run):
            console.print(path, highlight=False, markup=False, soft_wrap=True)
        console.print(f"Prefect: {link}", highlight=False, soft_wrap=True)
        return 0
    console.print(f"{run.name}: {state.name}. {state.message or ''}", style="red", highlight=False, markup=False)
    console.print(f"Prefect: {link}", highlight=False, soft_wrap=True)
    return 130 if state.type == StateType.CANCELLED else 1


def _pictures(run: FlowRun) -> list[str]:
    """Where the pictures are, as the flow returned it."""
    assert run.state is not None
    try:
        result: Any = run.state.result(raise_on_failure=False)
    except Exception as error:
        return [f"(the pictures' paths could not be read here: {error}; see the contact sheet in Prefect)"]
    return [str(getattr(one, "path", None) or one.get("path")) for one in result]


def console() -> Console:
    return Console(file=sys.stdout, soft_wrap=True)
