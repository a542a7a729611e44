"""One task of the queue changed, moved, tried again, cancelled or removed. Errors as in ``queue``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry, Cancelled, Cancelling

from backlog.order import PLACE, in_order, key_of, last, place_before, priority_of, set_order
from backlog.queue import UNDER_WAY, checked, create, read, set_state
from backlog.task import (
    ENDED,
    INTERRUPTED,
    Finished,
    InvalidJob,
    NotFinished,
    OfTimetable,
    Refused,
    Running,
    StartedMeanwhile,
    Status,
    Task,
    as_task,
)
from flows.job import GenerationJob


def edit(client: SyncPrefectClient, task: UUID, changes: Mapping[str, Any]) -> Task:
    """Change the job of a waiting task, checked as a new one is.

    Args:
        changes: laid over the job: ``{"txt2img": {"steps": 30}}``; None removes what it names.

    Raises:
        InvalidJob: the job would be wrong, or the task is no single job.
        Running, Finished, OfTimetable: it can't be changed any more.
        StartedMeanwhile: it was started while it was changed.
    """
    run = read_waiting(client, task)
    job = _changed(run, changes)
    client.update_flow_run(run.id, name=job.name, parameters=run.parameters | {"job": job.parameters()})
    return _still_waiting(client, run)


def duplicate(client: SyncPrefectClient, task: UUID, changes: Mapping[str, Any] | None = None) -> Task:
    """Queue a new task with another one's parameters and priority, whatever its state; ``changes`` as for edit.

    Raises:
        InvalidJob: the job would be wrong, or the task is no single job and there are changes.
    """
    run = read(client, task)
    if run.deployment_id is None:
        raise Refused(f"{run.name} was started by hand, without a deployment: queue its job file")
    parameters, name = run.parameters, run.name
    if changes:
        job = _changed(run, changes)
        parameters, name = parameters | {"job": job.parameters()}, job.name
    return create(client, run.deployment_id, name, parameters, priority_of(run))


def retry(client: SyncPrefectClient, task: UUID) -> Task:
    """Put a failed, cancelled or stopped task back into the queue: the same run, which keeps its finished pictures.

    Raises:
        NotFinished: it waits or runs.
        Finished: it is completed; duplicate it to have its pictures painted again.
    """
    run = read(client, task)
    status = as_task(run).status
    if status is Status.COMPLETED:
        raise Finished(f"{run.name} is completed, a retry would do nothing: requeue it to have it painted anew")
    if status not in ENDED:
        raise NotFinished(f"{run.name} is {status}: only what has failed or was cancelled can be retried")
    if run.labels.get(PLACE):  # it would stand before all that came meanwhile
        client.update_flow_run_labels(run.id, {PLACE: ""})
    set_state(client, run, AwaitingRetry(message="retried by a user"))
    return as_task(read(client, task))


def cancel(client: SyncPrefectClient, task: UUID) -> Task:
    """Cancel a waiting or running task; a running one ends within seconds, and until then it is ``running``.

    Raises:
        Finished: it has ended.
    """
    run = read(client, task)
    if (status := as_task(run).status) in ENDED:
        raise Finished(f"{run.name} is {status}: there is nothing to cancel")
    assert run.state is not None, "as_task has looked"
    if run.state.is_cancelled():  # by a pause, which would put it back
        client.update_flow_run(run.id, tags=[tag for tag in run.tags if tag != INTERRUPTED])
    elif not run.state.is_cancelling():
        set_state(client, run, Cancelled() if run.state.is_scheduled() else Cancelling())
    return as_task(read(client, task))


def delete(client: SyncPrefectClient, task: UUID) -> None:
    """Remove a task that is not under way, with its history; its pictures in the gallery stay.

    Raises:
        Running: cancel it first.
    """
    run = read(client, task)
    if run.state is not None and run.state.type in UNDER_WAY:
        raise Running(f"{run.name} is {run.state.name}: cancel it first")
    client.delete_flow_run(run.id)


def move(client: SyncPrefectClient, task: UUID, to: str | UUID) -> Task:
    """Move a waiting task: ``to`` is ``"top"``, ``"bottom"`` or the id of the waiting task that it is to precede. It
    takes the priority of its new neighbours where its own would not let it stand there.

    Raises:
        Running, Finished, OfTimetable: it, or the other, does not wait any more.
    """
    run = read_waiting(client, task)
    if to == "top":
        other = next((one for one in in_order(client, 0, 2) if one.id != run.id), None)
        place = None if other is None else key_of(other)[1] - 1
    elif to == "bottom":
        other = last(client, run.id)
        place = None if other is None else key_of(other)[1] + 1
    else:
        other = read_waiting(client, to if isinstance(to, UUID) else UUID(to))
        place = place_before(client, other, run.id)
    if other is not None and other.id != run.id:
        set_order(client, run, priority_of(other), place)
    return _still_waiting(client, run)


def set_priority(client: SyncPrefectClient, task: UUID, priority: int) -> Task:
    """Give a waiting task another priority: lower runs first, 0 is usual. It takes its place by the time it is due.

    Raises:
        Running, Finished, OfTimetable: it does not wait any more.
    """
    run = read_waiting(client, task)
    set_order(client, run, priority, None)
    return _still_waiting(client, run)


def read_waiting(client: SyncPrefectClient, task: UUID) -> FlowRun:
    """The run of a task that waits and can be changed."""
    run = read(client, task)
    status = as_task(run).status
    if status in ENDED:
        raise Finished(f"{run.name} is {status}: duplicate it with the change instead")
    if run.state is None or not run.state.is_scheduled():
        raise Running(f"{run.name} is under way and can't be changed: cancel it, or duplicate it with the change")
    if run.auto_scheduled:
        raise OfTimetable(
            f"{run.name} was laid out by a timetable, and Prefect deletes it when its deployment changes: "
            "change the saved job, or duplicate it with the change"
        )
    return run


def _still_waiting(client: SyncPrefectClient, run: FlowRun) -> Task:
    """The task after a change."""
    after = read(client, run.id)
    if after.state is None or not after.state.is_scheduled():
        raise StartedMeanwhile(f"{run.name} was started while it was changed: it may run with or without the change")
    return as_task(after)


def _changed(run: FlowRun, changes: Mapping[str, Any]) -> GenerationJob:
    job = run.parameters.get("job")
    if not isinstance(job, dict):
        raise InvalidJob(f"{run.name} is no single job, so its fields can't be changed: queue its file again")
    return checked(_laid_over(job, changes))


def _laid_over(below: Any, above: Any) -> Any:
    """``above`` laid over ``below``, fields within fields; None removes what it names."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    merged = {**below, **{name: _laid_over(below.get(name), value) for name, value in above.items()}}
    return {name: value for name, value in merged.items() if value is not None}
