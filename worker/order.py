"""The order of what waits: jobs whose checkpoint is loaded go first, and nobody waits for late-comers for long.

Loading a checkpoint costs seconds to minutes, so runs of one checkpoint are taken together. What a user set comes
first: a queue with a higher priority is emptied before the next, within it the runs of a lower priority label, and a
run that was moved (see ``backlog.order``) neither passes over another nor is passed over. Else a run may be passed over
by runs that were due at most ``PATIENCE`` after it: however long jobs of the loaded checkpoint keep arriving, it waits
for those of its first ten minutes and for no later one. Jobs submitted together are sorted as if their order meant
nothing, which is the least number of loads. (A window of a fixed number of places bounds no wait, because newcomers
fill it again; a weighted score makes the oldest run's turn depend on what others submit.)
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, State, StateDetails, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.sorting import FlowRunSort

from backlog.order import ORDERED, place_of, priority_of, seconds
from blocks.connection import WebUI
from webui.errors import WebUIError

PATIENCE = timedelta(minutes=10)
PAGE = 200  # runs in one of Prefect's answers, at most
LONGEST = 1000  # runs that are looked at; more wait their turn in Prefect's order
STEP = timedelta(milliseconds=1)  # between the scheduled times of runs that are put first


@dataclass(frozen=True)
class Waiting:
    """A run that waits. ``priority`` is its work queue's, 1 the highest, ``label`` the user's own, the lowest first;
    ``begins`` and ``ends`` are its first and last checkpoint; ``place`` is where a user moved it to, if one did.
    """

    id: UUID
    name: str
    due: datetime
    priority: int = 1
    begins: str = ""
    ends: str = ""
    label: int = 0
    place: Decimal | None = None


@dataclass(frozen=True)
class Turn:
    """A run at its place, and why it is there."""

    run: Waiting
    reason: str


def plan(waiting: Sequence[Waiting], loaded: str = "") -> list[Turn]:
    """The order in which the runs should start while ``loaded`` is the checkpoint on the GPU."""
    left = sorted(waiting, key=_wanted)
    turns: list[Turn] = []
    while left:
        chosen = next((run for run in _may_be_next(left) if run.begins and run.begins == loaded), left[0])
        turns.append(Turn(chosen, _reason(chosen, left[0], loaded)))
        left.remove(chosen)
        loaded = chosen.ends or loaded
    return turns


def _may_be_next(left: Sequence[Waiting]) -> Iterator[Waiting]:
    """The runs that may start before all others of these, which are in the users' order."""
    oldest = left[0]
    for run in left:
        if run.place is not None or (run.priority, run.label) != (oldest.priority, oldest.label):
            return
        if run.due <= oldest.due + PATIENCE:
            yield run


def _wanted(run: Waiting) -> tuple[int, int, Decimal, str]:
    """By this the users want the runs started."""
    return run.priority, run.label, seconds(run.due) if run.place is None else run.place, str(run.id)


def _handed_out(run: Waiting) -> tuple[int, datetime, str]:
    """By this the pool hands out."""
    return run.priority, run.due, str(run.id)


def _reason(chosen: Waiting, oldest: Waiting, loaded: str) -> str:
    name = chosen.begins.rpartition("|")[2]
    if chosen.begins and chosen.begins == loaded:
        return f"{name} is loaded" + (f"; before {oldest.name}, due earlier" if chosen is not oldest else "")
    first = "moved here" if chosen.place is not None else f"priority {chosen.label}" if chosen.label else ""
    return (first or "the longest waiting") + (f"; loads {name}" if name else "")


def checkpoints_of(parameters: dict[str, Any]) -> tuple[str, str]:
    """The first and last checkpoint that a run's parameters name, each with the WebUI that loads it."""
    jobs = [job for job in (parameters.get("job"), *_as_list(parameters.get("jobs"))) if isinstance(job, dict)]
    if not jobs:
        return "", ""
    webui = parameters.get("webui")
    place = str(webui) if webui else ""
    img2img = jobs[-1].get("img2img")
    last = (img2img.get("checkpoint") if isinstance(img2img, dict) else None) or jobs[-1].get("checkpoint")
    return f"{place}|{bare_name(jobs[0].get('checkpoint'))}", f"{place}|{bare_name(last)}"


def bare_name(checkpoint: object) -> str:
    """A checkpoint's name without hash and ending, so that its title and its file count as the same."""
    return re.sub(r"( \[[0-9a-f]+\])?$", "", str(checkpoint or "")).removesuffix(".safetensors").removesuffix(".ckpt")


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


Drop = Callable[[Sequence[FlowRun]], Awaitable[set[UUID]]]


class NotMoved(RuntimeError):
    """Prefect did not let a run be put first; the order stays as it was."""


class Planner:
    """Keeps the right runs at the head of a pool's queue; remembers what is loaded.

    The pool hands out by queue priority, then by scheduled time. So the runs whose turn it is get scheduled times
    just before the longest waiting one's; all others keep theirs, and with it their place.
    """

    def __init__(self, client: PrefectClient, pool: str, drop: Drop | None = None) -> None:
        """``drop``: cancels those of the waiting runs that are not to start any more, and returns their ids."""
        self._client = client
        self._pool = pool
        self._drop = drop
        self.first: Waiting | None = None  # whose turn it was when the order was last arranged
        self._loaded: str | None = None

    async def turns(self) -> list[Turn]:
        """What waits now, in order."""
        waiting = await self._waiting()
        if waiting:
            self._remember(await self._active())
        return plan(waiting, await self._now_loaded()) if waiting else []

    async def arrange(self, taken: Sequence[FlowRun] = (), slots: int = 1) -> list[Turn]:
        """Put the runs whose turn it is at the head, as many as can be handed out at once; returns those moved.

        Args:
            taken: runs that were just handed out; Prefect may still show them as waiting.
            slots: the pool's limit.

        Raises:
            NotMoved: Prefect refused.
        """
        gone = {run.id for run in taken}
        waiting = await self._waiting(gone)
        self.first = next(iter(waiting), None)
        if len(waiting) < 2:
            self._remember(taken)
            return []
        active = await self._active()
        self._remember(active)
        self._remember(taken)
        free = max(1, slots - len(gone | {run.id for run in active}))
        turns = plan(waiting, await self._now_loaded())[:free]
        self.first = turns[0].run
        head = sorted(waiting, key=_handed_out)
        if [turn.run.id for turn in turns] == [run.id for run in head[:free]]:
            return []
        for number, turn in enumerate(turns):
            await self._move(turn.run, head[0].due - (len(turns) - number) * STEP)
        return turns

    async def _move(self, waiting: Waiting, when: datetime) -> None:
        run = await self._client.read_flow_run(waiting.id)
        if run.state is None or not run.state.is_scheduled():
            return  # another worker was faster
        answer = await self._client.set_flow_run_state(run.id, _rescheduled(run.state, when))
        if answer.status != SetStateStatus.ACCEPT:
            reason = getattr(answer.details, "reason", None)
            raise NotMoved(f"{waiting.name} was to be put first, but Prefect says {reason}")

    async def _waiting(self, gone: Set[UUID] = frozenset()) -> list[Waiting]:
        """The scheduled runs that are due, with their queue's priority, but for ``gone`` and what is dropped now."""
        now = datetime.now(UTC)
        runs: list[FlowRun] = []
        while len(runs) < LONGEST:
            page = await self._read({"next_scheduled_start_time": {"before_": now}}, offset=len(runs))
            runs += page
            if len(page) < PAGE:
                break
        else:  # what a user put first may be due after all of these
            labelled = await self._read({"next_scheduled_start_time": {"before_": now}, "tags": {"all_": [ORDERED]}})
            runs += [run for run in labelled if run.id not in {one.id for one in runs}]
        runs = [run for run in runs if run.id not in gone]
        if runs and self._drop is not None:
            dropped = await self._drop(runs)
            runs = [run for run in runs if run.id not in dropped]
        if len(runs) < 2:
            return [_as_waiting(run, {}) for run in runs]
        queues = await self._client.read_work_queues(work_pool_name=self._pool)
        paused = {queue.name for queue in queues if queue.is_paused}
        priorities = {queue.name: queue.priority or 1 for queue in queues}
        return [_as_waiting(run, priorities) for run in runs if run.work_queue_name not in paused]

    async def _active(self) -> list[FlowRun]:
        """The runs that hold a slot; those that have not begun come after those that have."""
        active = await self._read({}, StateType.PENDING, StateType.RUNNING)
        return sorted(active, key=lambda run: (run.start_time is None, str(run.start_time or run.created)))

    async def _now_loaded(self) -> str:
        """The checkpoint on the GPU when all remembered runs are through; else what the WebUI says."""
        if self._loaded is None:
            self._loaded = await _ask_webui()
        return self._loaded

    def _remember(self, runs: Sequence[FlowRun]) -> None:
        """What these runs leave on the GPU, one after the other."""
        for run in runs:
            self._loaded = checkpoints_of(run.parameters)[1] or self._loaded

    async def _read(self, wanted: dict[str, Any], *states: StateType, offset: int = 0) -> list[FlowRun]:
        wanted = {"state": {"type": {"any_": states or [StateType.SCHEDULED]}}} | wanted
        return await self._client.read_flow_runs(
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [self._pool]}}),
            flow_run_filter=FlowRunFilter.model_validate(wanted),
            sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
            limit=PAGE,
            offset=offset,
        )


def _as_waiting(run: FlowRun, priorities: dict[str, int]) -> Waiting:
    begins, ends = checkpoints_of(run.parameters)
    due = run.next_scheduled_start_time or run.expected_start_time or datetime.now(UTC)
    priority = priorities.get(run.work_queue_name or "", 1)
    return Waiting(run.id, _job_name(run), due, priority, begins, ends, priority_of(run), place_of(run))


def _job_name(run: FlowRun) -> str:
    """The job's name: a run that was triggered from the UI has a made-up one until it starts."""
    job = run.parameters.get("job")
    return str((job.get("name") if isinstance(job, dict) else None) or run.parameters.get("name") or run.name)


def _rescheduled(state: State[Any], when: datetime) -> State[Any]:
    """The same state (a retry stays one), due at another time.

    A run that waits for more than 15 s is named Late, and Prefect refuses to name it so again: it begins anew.
    """
    return State(
        type=StateType.SCHEDULED,
        name="Scheduled" if state.name == "Late" else state.name,
        message=state.message,
        state_details=StateDetails(scheduled_time=when),
    )


async def _ask_webui() -> str:
    """What the default WebUI has selected; nothing where it can't be asked."""

    def ask() -> str:
        client = WebUI.chosen(None).get_client()
        return f"|{bare_name(client.options().get('sd_model_checkpoint'))}"

    with contextlib.suppress(WebUIError, ValueError):
        return await asyncio.to_thread(ask)
    return ""
