"""The tasks of the queue: listed, added, changed, ended. Each function takes Prefect's synchronous client.

All raise ``NotFound`` for an id that there is none of, and ``Refused`` where Prefect did not do it; see
``task.QueueError`` for the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from pydantic import BaseModel, ValidationError

from backlog.estimate import Estimate, progress_of
from backlog.order import IN_POOL, MOST, ORDERED, PRIORITY, count_waiting, in_order
from backlog.task import (
    ENDED,
    STATUS,
    TERMINAL,
    InvalidJob,
    NotFound,
    Refused,
    Status,
    Task,
    as_task,
    result_images,
)
from backlog.timetable import hours_in_force
from blocks.connection import WebUI
from deployments.bootstrap import DEPLOYMENT, POOL
from flows.job import GenerationJob, explain
from hours.windows import Hours
from webui.errors import WebUIError

UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]


class Overview(BaseModel):
    """The queue as a whole.

    Attributes:
        counts: tasks in each status; the waiting ones are those that are due, not those that a timetable laid out.
        paused: whether the user paused it.
        description: the work pool's; it says so when the worker starts nothing because the WebUI is away.
        eta: seconds until all that waits is finished, closed GPU hours included, estimated; None: not known.
    """

    counts: dict[Status, int]
    paused: bool = False
    description: str = ""
    eta: float | None = None


def waiting(client: SyncPrefectClient, offset: int = 0, limit: int = 100) -> list[Task]:
    """A page of what is due or will be within two minutes, in the order that users set, with position and ETA. The
    worker may take one before another whose checkpoint is not loaded; one that was moved is never passed over.
    """
    estimate, hours = Estimate(client), hours_in_force(client)
    tasks, work = _with_work(client, estimate, offset, limit)
    for number, (task, seconds) in enumerate(zip(tasks, work, strict=True), start=1):
        task.position = offset + number
        task.eta = _until_done(hours, seconds) if estimate.known else None
    return tasks


def work_until_done(client: SyncPrefectClient, task: UUID) -> float | None:
    """Seconds of work until a waiting task is done, that of all before it included; None: not known, or far behind."""
    estimate = Estimate(client)
    tasks, work = _with_work(client, estimate, 0, MOST)
    return next((seconds for one, seconds in zip(tasks, work, strict=True) if one.id == task and estimate.known), None)


def _with_work(
    client: SyncPrefectClient, estimate: Estimate, offset: int, limit: int
) -> tuple[list[Task], list[float]]:
    """A page of what waits, and for each the seconds of work until it is done."""
    tasks = [as_task(run) for run in in_order(client, offset, limit)]
    others = estimate.of_others(tasks)
    own = [others if (seconds := estimate.seconds(one)) is None else seconds for one in tasks]
    before = sum(one.eta or 0 for one in _under_way(client, estimate)) + others * offset
    return tasks, list(accumulate(own, initial=before))[1:]


def _until_done(hours: Hours, seconds: float) -> float:
    """Seconds from now until so much work is done, closed GPU hours included."""
    now = datetime.now(UTC)
    return (hours.spans(now, seconds)[-1][1] - now).total_seconds()


def running(client: SyncPrefectClient) -> list[Task]:
    """What is under way, with progress and ETA; the longest running first."""
    return _under_way(client, Estimate(client))


def _under_way(client: SyncPrefectClient, estimate: Estimate) -> list[Task]:
    runs = read_runs(client, {"state": {"type": {"any_": UNDER_WAY}}}, FlowRunSort.START_TIME_ASC)
    tasks = [as_task(run) for run in runs]
    progress = progress_of(client, [task.id for task in tasks]) if tasks else {}
    for task in tasks:
        task.progress = progress.get(task.id, 0.0)
        task.eta = estimate.left(task)
        task.result_images = result_images(task.id)
    return tasks


def history(
    client: SyncPrefectClient, statuses: Iterable[Status] = (), offset: int = 0, limit: int = 100
) -> list[Task]:
    """A page of what has ended, the latest first; ``statuses``: only these."""
    wanted = [kind for kind in TERMINAL if STATUS[kind] in (list(statuses) or ENDED)]
    ended = {"state": {"type": {"any_": wanted}}}
    tasks = [as_task(run) for run in read_runs(client, ended, FlowRunSort.END_TIME_DESC, offset, limit)]
    for task in tasks:
        task.result_images = result_images(task.id)
    return tasks


def show(client: SyncPrefectClient, task: UUID) -> Task:
    """One task with all that is known of it, its pictures and progress too; no position and ETA."""
    shown = as_task(read(client, task))
    shown.result_images = result_images(task)
    if shown.status is not Status.COMPLETED:
        shown.progress = progress_of(client, [task]).get(task, 0.0)
    return shown


def add(
    client: SyncPrefectClient,
    job: GenerationJob | Mapping[str, Any],
    *,
    priority: int = 0,
    tags: Sequence[str] = (),
    idempotency_key: str | None = None,
    webui: str | None = None,
) -> Task:
    """Queue a job.

    Args:
        job: its files are copied into the store. A mapping that names no checkpoint gets the one that the WebUI has
            selected now.
        tags: further tags of the run, such as whose it is; Prefect's API can filter by them.
        idempotency_key: with the key of an earlier call, that call's task is returned and nothing is queued.
        webui: slug of the connection block to paint with (``webui/other``); None: the default one.

    Raises:
        InvalidJob: the job is wrong, or one of its files is missing.
    """
    ready = checked(job.parameters() if isinstance(job, GenerationJob) else job)
    parameters: dict[str, Any] = {"job": ready.parameters()}
    if webui is not None:
        parameters["webui"] = {"$ref": {"block_document_slug": webui}}
    return create(client, DEPLOYMENT, ready.name, parameters, priority, tags, idempotency_key)


def create(
    client: SyncPrefectClient,
    deployment: str | UUID,
    name: str,
    parameters: Mapping[str, Any],
    priority: int = 0,
    tags: Sequence[str] = (),
    idempotency_key: str | None = None,
) -> Task:
    """Queue a run of a deployment, given by its id or its name (flow/deployment), with parameters that are right."""
    try:
        if isinstance(deployment, str):
            deployment = client.read_deployment_by_name(deployment).id
        run = client.create_flow_run_from_deployment(
            deployment,
            name=name,
            parameters=dict(parameters),
            labels={PRIORITY: priority} if priority else {},
            tags=[*tags, *([ORDERED] if priority else [])],
            idempotency_key=idempotency_key,
        )
    except ObjectNotFound:
        raise Refused(f"Prefect has no deployment {deployment}: run `darkroom deploy` first") from None
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in (409, 422):
            raise
        raise InvalidJob(f"{name}: Prefect refuses it: {error.response.json().get('detail')}") from None
    return as_task(run)


def overview(client: SyncPrefectClient) -> Overview:
    """How many tasks there are in each status, whether the queue is paused, and when it will be empty."""
    pool = client.read_work_pool(POOL)
    counts = dict.fromkeys(Status, 0)
    counts[Status.PENDING] = count_waiting(client)
    for kind in STATUS:
        if kind is not StateType.SCHEDULED:
            only = FlowRunFilter.model_validate({"state": {"type": {"any_": [kind]}}})
            counts[STATUS[kind]] += client.count_flow_runs(work_pool_filter=IN_POOL, flow_run_filter=only)
    estimate = Estimate(client)
    first, work = _with_work(client, estimate, 0, MOST)
    eta = None
    if first and estimate.known:
        rest = work[-1] / len(first) * max(0, counts[Status.PENDING] - len(first))
        eta = _until_done(hours_in_force(client), work[-1] + rest)
    return Overview(counts=counts, paused=pool.is_paused, description=pool.description or "", eta=eta)


def read(client: SyncPrefectClient, task: UUID) -> FlowRun:
    """The run of a task."""
    try:
        return client.read_flow_run(task)
    except ObjectNotFound:
        raise NotFound(f"there is no task {task}: was it deleted?") from None


def read_runs(
    client: SyncPrefectClient, wanted: dict[str, Any], sort: FlowRunSort, offset: int = 0, limit: int | None = None
) -> list[FlowRun]:
    """Runs of the queue, at most 200 of them."""
    return client.read_flow_runs(
        work_pool_filter=IN_POOL,
        flow_run_filter=FlowRunFilter.model_validate(wanted),
        sort=sort,
        limit=limit,
        offset=offset,
    )


def set_state(client: SyncPrefectClient, run: FlowRun, state: State[Any]) -> None:
    """Set a run's state.

    Raises:
        Refused: Prefect did not accept it.
    """
    answer = client.set_flow_run_state(run.id, state)
    if answer.status != SetStateStatus.ACCEPT:
        reason = getattr(answer.details, "reason", None) or "its state has changed meanwhile"
        raise Refused(f"{run.name} did not become {state.name}: {reason}. Look at it and try again")


def checked(job: Mapping[str, Any]) -> GenerationJob:
    """The job, found right and with its files in the store."""
    if not job.get("checkpoint"):
        job = {**job, "checkpoint": _selected_checkpoint()}
    try:
        return GenerationJob.model_validate(job).with_files_kept()
    except ValidationError as error:
        raise InvalidJob(explain(error)) from None
    except ValueError as error:
        raise InvalidJob(str(error)) from None


def _selected_checkpoint() -> str:
    try:
        with closing(WebUI.chosen(None).get_client()) as webui:
            return str(webui.options().get("sd_model_checkpoint") or "")
    except (WebUIError, ValueError) as error:
        raise InvalidJob(f"the job names no checkpoint, and the WebUI can't be asked for its own: {error}") from None
