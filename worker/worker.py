"""The worker: Prefect's process worker with our way to start a process, and our order.

It asks Prefect as little as it can: each request is 10 to 40 ms of the server's time, and where one run at a time is
allowed, the GPU waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from anyio.abc import TaskStatus
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import AwaitingRetry
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from deployments.bootstrap import POOL
from gpu.lease import tickets
from services.process import appending_to
from store.settings import settings
from worker.events import Wakeup
from worker.fork import COLD_START
from worker.gpu_hours import GpuHours
from worker.missed import drop_missed
from worker.order import Planner
from worker.prefect_internals import CANCEL_REPLAY, allow_own_process_worker
from worker.readiness import Readiness
from worker.recovery import read_runs

IN_LINE_WITHIN = 20.0  # seconds until a run that takes no lease no longer holds up the one after it
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
MARGIN = timedelta(seconds=2)  # between the clocks of server and worker
PUT_OFF_FOR = timedelta(minutes=5)  # a run whose WebUI is not ready; should this worker die, another one starts it then
PUT_OFF = "it waits for its WebUI: "  # how the state's message of such a run begins
LOOK_AGAIN = 0.02  # seconds between two looks at the lease's tickets

logger = logging.getLogger("darkroom.worker")

allow_own_process_worker()


class Configuration(ProcessJobConfiguration):
    """How a run is started on this host, unless its deployment's own ``command`` says otherwise.

    Without a command Prefect would prepare a workspace for each run, which the installed project has no use for.
    """

    default_command: ClassVar[Callable[[], str]] = staticmethod(lambda: COLD_START)

    def prepare_for_flow_run(
        self, flow_run: FlowRun, deployment: DeploymentResponse | None = None, *args: Any, **kwargs: Any
    ) -> None:
        # Not into the worker's pipe: the run goes on when the worker dies.
        self.command = self.command or appending_to(settings().home / "logs" / "runs.log", type(self).default_command())
        super().prepare_for_flow_run(flow_run, deployment, *args, **kwargs)


class DarkroomWorker(ProcessWorker):
    """Starts runs in the planner's order.

    Attributes:
        unplanned: set while a run was started or queued since the last plan.
        on_hold: why no runs are taken now; empty: they are, but for those whose WebUI is not ready.
        hours: the GPU hours; while they are closed, only runs are taken that these admit.
    """

    type = "process"
    job_configuration = Configuration

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._one_look = asyncio.Lock()
        self._planner: Planner | None = None
        self._started: list[FlowRun] = []  # since the last plan
        self._in_line: dict[UUID, tuple[asyncio.Event | None, asyncio.Event]] = {}  # of the run before it, its own
        self._last_in_line: asyncio.Event | None = None
        self._some_put_off = True  # by an earlier worker, perhaps
        self.readiness, self.wakeup = Readiness(), Wakeup()
        self.hours = GpuHours(self.readiness, self.wakeup)
        self.unplanned = asyncio.Event()
        self.on_hold = ""

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Start what the pool hands out, one look at a time."""
        async with self._one_look:
            if self.on_hold or not await self._make_way():
                return []
            if self._planner is None or self.unplanned.is_set():
                # Whoever looks, Prefect's polling too: a run may end between an event and the look that it causes.
                # Mostly it is done long ago, but for what was started or queued within the last second.
                await self._plan()
            if self.hours.closed and not self._next_is_admitted():
                return []
            started = await super().get_and_submit_flow_runs()
            for run in started:
                if run.id not in self._in_line:
                    self._in_line[run.id] = self._last_in_line, asyncio.Event()
                    self._last_in_line = self._in_line[run.id][1]
            if started:
                self._started += started
                self.unplanned.set()
            return started

    def _next_is_admitted(self) -> bool:
        """Whether the next run may start outside the GPU hours; one that is handed out with it hands back at once."""
        first = self._planner.first if self._planner is not None else None
        return first is not None and self.hours.admits(first.label)

    async def run(
        self, flow_run: FlowRun, configuration: ProcessJobConfiguration, task_status: TaskStatus[int] | None = None
    ) -> ProcessWorkerResult:
        """Start the run's process and return when it has ended.

        The lease of the GPU is first come, first served: of two runs that are handed out at once, the second's process
        is started when the first has its place in the lease's queue.
        """
        before, own = self._in_line.pop(flow_run.id, (None, asyncio.Event()))
        try:
            if await self._put_off_if_away(flow_run) or (flow_run.run_count and await self._postpone(flow_run)):
                if task_status is not None:
                    task_status.started(0)
                return ProcessWorkerResult(status_code=0, identifier="not started")
            if before is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(before.wait(), IN_LINE_WITHIN)
            looks = asyncio.create_task(_wait_for_ticket(str(flow_run.id), own))
            try:
                return await super().run(flow_run, configuration, task_status)
            finally:
                looks.cancel()
        finally:
            own.set()

    async def _make_way(self) -> bool:
        """Let no run whose WebUI is not ready stand before others; returns whether there may be a run to start.

        While nobody else waits, the runs of a WebUI that is away stay as they are.
        """
        if self.readiness.all_ready and not self._some_put_off:
            return True
        now = datetime.now(UTC)
        soon = {"before_": now + PUT_OFF_FOR + MARGIN}
        runs = await read_runs(
            self.client, POOL, {"state": {"type": {"any_": ["SCHEDULED"]}}, "next_scheduled_start_time": soon}
        )
        put_off = [run for run in runs if run.state and (run.state.message or "").startswith(PUT_OFF)]
        self._some_put_off = bool(put_off)
        for run in put_off:
            if not self.readiness.reason(run.parameters):
                await self._delay(run, run.expected_start_time, "its WebUI is ready again")
        due = [run for run in runs if run.next_scheduled_start_time and run.next_scheduled_start_time <= now]
        away = [run for run in due if self.readiness.reason(run.parameters)]
        if due and len(away) == len(due):
            return False
        for run in away:
            await self._put_off_if_away(run)
        return True

    async def _put_off_if_away(self, run: FlowRun) -> bool:
        """Put a run back into the queue if its WebUI is not ready; returns whether it did."""
        if reason := await self.readiness.ask(run.parameters):
            await self._delay(run, datetime.now(UTC) + PUT_OFF_FOR, f"{PUT_OFF}{reason}")
            self._some_put_off = True
        return bool(reason)

    async def _postpone(self, flow_run: FlowRun) -> bool:
        """Put a run back into the queue if Prefect would repeat its last cancel now; returns whether it did."""
        # The server that `darkroom up` starts replays nothing, and this process has its settings.
        replay = min(CANCEL_REPLAY, get_current_settings().server.events.maximum_websocket_backfill)
        if not replay:
            return False
        states = await self.client.read_flow_run_states(flow_run.id)
        until = max((s.timestamp for s in states if s.is_cancelling()), default=LONG_AGO) + replay + MARGIN
        if until < datetime.now(UTC):
            return False
        message = "it was cancelled less than a minute ago, and Prefect would cancel it again: it waits for so long"
        await self._delay(flow_run, until, message)
        return True

    async def _delay(self, run: FlowRun, until: datetime | None, message: str) -> None:
        logger.info("run %s: %s", run.name, message)
        state: State[Any] = AwaitingRetry(scheduled_time=until, message=message)
        with contextlib.suppress(ObjectNotFound):  # it was deleted just now
            await self.client.set_flow_run_state(run.id, state)  # not by force: what is being cancelled stays so

    async def plan(self) -> None:
        """Bring the queue into order for the next look."""
        async with self._one_look:
            if not self.on_hold and not self.readiness.reason({}):
                await self._plan()

    async def _plan(self) -> None:
        """A failure costs the order, not the runs."""
        started, self._started = self._started, []
        self.unplanned.clear()
        try:
            self._planner = self._planner or Planner(self.client, POOL, self._drop_missed)
            await self._planner.arrange(started, slots=self.work_pool.concurrency_limit or 1)
        except Exception as error:
            logger.warning("the order could not be planned: %s", error)

    async def _drop_missed(self, waiting: Sequence[FlowRun]) -> set[UUID]:
        return await drop_missed(self.client, waiting, self.hours.since, self.hours.night)


async def _wait_for_ticket(run: str, in_line: asyncio.Event) -> None:
    """Tell when the run holds the lease of a GPU or waits for it; or that it takes too long for others to wait."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(IN_LINE_WITHIN):
            while run not in [ticket.run for ticket in tickets()]:
                await asyncio.sleep(LOOK_AGAIN)
    in_line.set()
