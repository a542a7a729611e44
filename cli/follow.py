"""A run in the terminal: queued, watched with progress bars and its log, reported with its pictures."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, Log, State, StateType
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

POLL_INTERVAL = 0.5  # seconds
# Each process of a run sends its log lines in batches, every 2 s by Prefect's default, so a line can arrive after
# younger ones of another process. Lines are read again for this long and told apart by their ids.
LOG_OVERLAP = timedelta(seconds=10)
LOG_PAGE = 200  # lines; the most that Prefect's API gives at once
LOG_QUIET = 2.5  # seconds without a new line after which a log counts as complete; more than a batch's 2 s
LOG_END_WITHIN = 8.0  # seconds that the last lines are waited for in all
UNCLAIMED_AFTER = 5.0  # seconds of waiting before the follower looks why nothing starts the run
JOB_PROGRESS = "job-progress"  # key of the artifact with the progress of the whole job
# What Prefect's engine logs about each task and flow. The tasks' own lines and the report say the same in fewer words.
# What Prefect's engine says; and links into its pages, whose server may stop with this command (see report).
NOT_SHOWN = re.compile(r"Finished in state \w+\(|Encountered exception during execution:|contact sheet: http")
TRACEBACK = "Traceback (most recent call last)"


class Follower:
    """Shows one run until it has ended. On a terminal: a bar per stage and one for the job, with the log above them.
    Elsewhere: the log alone.
    """

    def __init__(self, client: SyncPrefectClient, run: UUID, console: Console) -> None:
        self._client = client
        self._id = run
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
        self._bar_of: dict[str, TaskID] = {}  # by the artifact's key
        self._status = ""  # the last that was said of the run as a whole
        self._shown: set[UUID] = set()  # ids of log lines
        self._newest: datetime | None = None  # time of the newest log line
        self._look_why_at = time.monotonic() + UNCLAIMED_AFTER  # when to find out why the run does not start

    def until_ended(self, check: Callable[[], None] = lambda: None) -> FlowRun:
        """The run, once it is in a final state. ``check`` is called at each look and may raise.

        Raises:
            ValueError: the run was deleted.
        """
        with self._bars:
            while True:
                try:
                    run = self._look()
                    if run.state is not None and run.state.is_final():
                        return run
                except ObjectNotFound:
                    raise ValueError("the run was deleted in Prefect") from None
                except httpx.HTTPError as error:
                    self._say_status(f"Prefect does not answer ({type(error).__name__}); trying again")
                check()
                time.sleep(POLL_INTERVAL)

    def cancel(self) -> FlowRun:
        """Ask Prefect to cancel the run, and wait until it has ended."""
        self._line("cancelling; Ctrl-C again leaves without waiting")
        with suppress(httpx.HTTPError, ObjectNotFound):  # until_ended says what is wrong
            self._client.set_flow_run_state(self._id, Cancelling())
        return self.until_ended()

    def _look(self) -> FlowRun:
        run = self._client.read_flow_run(self._id)
        state = run.state
        if state is not None and not state.is_final():
            self._say_status(f"{run.name}: {state.name}" + (f": {state.message}" if state.message else ""))
        self._show_new_logs()
        self._show_progress()
        if state is not None and state.is_final():
            self._show_last_logs(state)
        elif state is not None and state.is_scheduled() and run.work_pool_name:
            self._say_why_nothing_starts(run.work_pool_name)
        return run

    def _say_status(self, text: str) -> None:
        if text != self._status:
            self._status = text
            self._line(text)

    def _say_why_nothing_starts(self, pool: str) -> None:
        """Once, when the run has waited for a while."""
        if time.monotonic() < self._look_why_at:
            return
        self._look_why_at = time.monotonic() + UNCLAIMED_AFTER
        if self._client.read_work_pool(pool).is_paused:
            reason = f"the work pool {pool} is paused: resume it in the Prefect UI"
        elif not any(worker.status == "ONLINE" for worker in self._client.read_workers_for_work_pool(pool)):
            reason = f"no worker is online in pool {pool}: start one with `darkroom worker`"
        else:
            return
        self._line(reason, level=30)
        self._look_why_at = math.inf

    def _show_progress(self) -> None:
        if self._bars.disable:
            return
        ours = filters.ArtifactFilter(flow_run_id=filters.ArtifactFilterFlowRunId(any_=[self._id]))
        artifacts = self._client.read_artifacts(artifact_filter=ours)
        for artifact in sorted(artifacts, key=lambda one: (one.key == JOB_PROGRESS, str(one.created))):
            key = artifact.key or ""
            if artifact.type != "progress" or not isinstance(artifact.data, (int, float)):
                continue
            if key not in self._bar_of:
                self._bar_of[key] = self._bars.add_task(key.removesuffix("-progress"), total=100, text="")
            text = "" if key == JOB_PROGRESS else (artifact.description or "").partition(": ")[2]
            self._bars.update(self._bar_of[key], completed=artifact.data, text=text)

    def _show_new_logs(self) -> list[Log]:
        """Show the lines that were not shown yet, and return them."""
        since = filters.LogFilterTimestamp(after_=self._newest - LOG_OVERLAP) if self._newest else None
        wanted = filters.LogFilter(flow_run_id=filters.LogFilterFlowRunId(any_=[self._id]), timestamp=since)
        new: list[Log] = []
        for offset in range(0, sys.maxsize, LOG_PAGE):
            page = self._client.read_logs(wanted, limit=LOG_PAGE, offset=offset, sort=LogSort.TIMESTAMP_ASC)
            new += [log for log in page if log.id not in self._shown]
            if len(page) < LOG_PAGE:
                break
        for log in new:
            self._shown.add(log.id)
            self._newest = max(self._newest or log.timestamp, log.timestamp)
            if text := what_to_show(log.message):
                self._line(text, log.level)
        return new

    def _show_last_logs(self, end: State[Any]) -> None:
        """Wait for the lines that come after the final state.

        They are complete when the flow itself (no task) has a line as late as that state: Prefect's engine writes one
        last. Where none comes, after a crash, say, silence decides.
        """
        deadline = time.monotonic() + LOG_END_WITHIN
        quiet_from = time.monotonic()
        new = self._show_new_logs()
        while not any(log.task_run_id is None and log.timestamp >= end.timestamp for log in new):
            if time.monotonic() > min(deadline, quiet_from + LOG_QUIET):
                return
            time.sleep(POLL_INTERVAL / 2)
            if new := self._show_new_logs():
                quiet_from = time.monotonic()

    def _line(self, text: str, level: int = 20) -> None:
        style = "red" if level >= 40 else "yellow" if level >= 30 else "dim"
        self._console.print(text, style=style, highlight=False, markup=False)


def what_to_show(message: str) -> str:
    """A log message without its traceback; empty for what is of use in Prefect's own pages only."""
    return "" if NOT_SHOWN.match(message) else message.partition(TRACEBACK)[0].strip()


def report(run: FlowRun, link: str | None, console: Console) -> int:
    """Say how a run ended; returns the exit code: 0 for pictures, 1 for a failure, 130 for a cancel.

    ``link`` is the run's page in the Prefect UI; None where the server stops with this command.
    """
    state = run.state
    assert state is not None, "an ended run has a state"
    completed = state.type == StateType.COMPLETED
    for path in _pictures(state) if completed else ():
        console.print(path, highlight=False, markup=False)
    if not completed:
        text = f"{run.name}: {state.name}. {what_to_show(state.message or '')}"
        console.print(text, style="red", highlight=False, markup=False)
    page = f"Prefect: {link}" if link else "To see the run in Prefect, or to retry it: `make up`"
    console.print(page, highlight=False)
    return 0 if completed else 130 if state.type == StateType.CANCELLED else 1


def _pictures(state: State[Any]) -> list[str]:
    """Where the pictures are, as the flow returned it."""
    try:
        result: Any = state.result(raise_on_failure=False)
    except Exception as error:
        return [f"(the pictures' paths can't be read here: {error}; the contact sheet in Prefect has them)"]
    return [str(getattr(one, "path", None) or one.get("path")) for one in result]
