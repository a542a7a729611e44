"""The GPU hours, kept: outside them no run is started, and what is under way hands back after its picture.

They are the Prefect variable ``darkroom_hours``, which is read again every few seconds. A value that is wrong changes
nothing: the hours that were read before it stay in force, and it is said in the log, by ``darkroom check`` and in a
notice. A worker that has read no right one yet holds, with that as its reason: to paint at hours that the user may have
closed is worse than to wait for them, and a night that is held is announced.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient

from backlog.order import priority_of
from backlog.timetable import HOURS
from flows.handback import ask_to_hand_back, forget_request
from hours.windows import Hours
from worker.events import Wakeup
from worker.missed import lay_out_missed
from worker.notice import HOURS_WRONG, tell
from worker.readiness import Readiness
from worker.recovery import read_runs, worker_name

LOOK_EVERY = 5.0  # seconds
BREAK = timedelta(minutes=2)  # between two looks: the machine was off, or Prefect away; a restart is shorter
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

logger = logging.getLogger("darkroom.worker")


class GpuHours:
    """Whether runs may start now."""

    def __init__(self, readiness: Readiness, wakeup: Wakeup) -> None:
        self._readiness, self._wakeup = readiness, wakeup
        self._hours: Hours | None = None
        self._problem = "the GPU hours have not been read yet"
        self._seen: datetime | None = None  # the last look, by this worker or the one before it
        self._going_since = LONG_AGO  # the end of the last break
        self._asked: set[tuple[UUID, int]] = set()  # run and attempt

    @property
    def closed(self) -> str:
        """Why no runs are started now; empty: they are."""
        if self._hours is None:
            return self._problem
        if self._hours.is_open(now := datetime.now(UTC)):
            return ""
        return f"the GPU hours are closed until {self._hours.clock(self._hours.opens(now))} ({self._hours})"

    def admits(self, priority: int) -> bool:
        """Whether a run of this priority may start although the hours are closed."""
        exempt = self._hours.exempt if self._hours is not None else None
        return exempt is not None and priority <= exempt

    @property
    def since(self) -> datetime:
        """From when on runs could be started without a break; now, while they can't be."""
        now = datetime.now(UTC)
        if self._hours is None or not self._hours.is_open(now):
            return now
        return max(self._going_since, self._hours.night(now)) if self._hours.closes(now) else self._going_since

    @property
    def night(self) -> datetime | None:
        """When this night began; None: the hours are closed."""
        now = datetime.now(UTC)
        return self._hours.night(now) if self._hours is not None and self._hours.is_open(now) else None

    async def look(self, client: PrefectClient, pool: str) -> None:
        """Read the hours, tell of a change, and ask what is under way outside them to hand back."""
        now, before = datetime.now(UTC), self._seen or await _last_seen(client, pool)
        if before is None or now - before > BREAK:
            self._going_since = now
            await lay_out_missed(client, before or now, now)
        self._seen = now
        await self._read(client)
        closed = self.closed
        if closed != self._readiness.closed:
            logger.info(closed or "the GPU hours are open")
            await self._readiness.set_closed(closed)
            self._wakeup.notify(run_queued=True)
        if not closed:
            for asked, _ in self._asked:  # what ended before it saw that it was asked
                forget_request(asked)
            self._asked.clear()
        elif self._hours is not None:
            for run in await read_runs(client, pool, {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}):
                if not self.admits(priority_of(run)) and (attempt := (run.id, run.run_count)) not in self._asked:
                    self._asked.add(attempt)
                    ask_to_hand_back(run.id, closed)

    async def _read(self, client: PrefectClient) -> None:
        variable = await client.read_variable_by_name(HOURS)
        try:
            self._hours, problem = Hours.read(variable and variable.value), ""
        except ValueError as error:
            problem = f"the Prefect variable {HOURS} is wrong: {error}"
        if problem and problem != self._problem:
            logger.warning("%s; %s", problem, f"still: {self._hours}" if self._hours else "no runs are started")
            tell(HOURS_WRONG, problem)
        self._problem = problem


async def _last_seen(client: PrefectClient, pool: str) -> datetime | None:
    """When this host's worker was last alive; None: it is the first one."""
    known = await client.read_workers_for_work_pool(pool)
    return next((one.last_heartbeat_time for one in known if one.name == worker_name()), None)
