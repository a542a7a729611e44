"""A task of the queue: a flow run as the queue's users see it, and the errors of operations on it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.utilities.urls import url_for
from pydantic import BaseModel, ValidationError

from backlog.order import priority_of
from flows.job import GenerationJob
from tasks.publish import published_before


class Status(StrEnum):
    """What became of a task, in the words of the queue extensions of WebUIs."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"


# Every state of Prefect's. One that is being cancelled runs until its process has ended. A crashed run is stopped: its
# process died, and the worker puts it back into the queue, where it goes on after its finished pictures.
STATUS: Mapping[StateType, Status] = {
    StateType.SCHEDULED: Status.PENDING,
    StateType.PENDING: Status.PENDING,
    StateType.RUNNING: Status.RUNNING,
    StateType.CANCELLING: Status.RUNNING,
    StateType.PAUSED: Status.PAUSED,
    StateType.COMPLETED: Status.COMPLETED,
    StateType.FAILED: Status.FAILED,
    StateType.CANCELLED: Status.CANCELLED,
    StateType.CRASHED: Status.STOPPED,
}
INTERRUPTED = "interrupted-by-pause"  # tag of a run that a pause has cancelled: it is paused, resume puts it back
ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.STOPPED)
TERMINAL = [kind for kind, status in STATUS.items() if status in ENDED]


class QueueError(Exception):
    """The queue did not do what was asked, and is as it was. The message says why, and what to do.

    - NotFound: there is no such task
    - Running: it is under way
    - Finished: it has ended
    - NotFinished: it has not ended
    - StartedMeanwhile: it was started while it was changed
    - OfTimetable: a timetable laid it out ahead
    - InvalidJob: the job is wrong
    - Refused: Prefect refused
    """


class NotFound(QueueError):
    """There is no such task."""


class Running(QueueError):
    """The task is under way, and what was asked works on a waiting one or one that has ended."""


class Finished(QueueError):
    """The task has ended, and what was asked works on a waiting or running one."""


class NotFinished(QueueError):
    """The task has not ended, and what was asked works on one that has."""


class StartedMeanwhile(QueueError):
    """The task was waiting when the change began and under way when it was done; it may run with or without it."""


class OfTimetable(QueueError):
    """A timetable laid the task out ahead. Prefect deletes it when its deployment changes, and a change with it."""


class InvalidJob(QueueError, ValueError):
    """The job is wrong; the message names each field."""


class Refused(QueueError):
    """Prefect did not accept a change of state: somebody else was faster, or the deployment is gone."""


class Task(BaseModel):
    """A flow run as the queue's users see it.

    Attributes:
        id: the flow run's.
        task_type: the job's first stage (``txt2img``, ``img2img``, …); ``batch`` for many jobs, else the flow's name.
        state: Prefect's name of the state, finer than ``status``: ``AwaitingRetry``, ``Waiting``, ``Quarantined``.
        priority: lower runs first; 0 unless a user set it.
        position: 1 for the first of the waiting tasks; None where it does not wait, or was not asked for in a list.
        due: when it may be started. created, started, completed: when it was; all with a time zone.
        params: the flow run's parameters; ``params["job"]`` is a GenerationJob without its defaults.
        checkpoint: the first one that it needs.
        pictures: how many it makes; 0: not known (a batch from a file). work: the same in steps of 512 × 512 pixels.
        result_images: paths or addresses in the gallery, also of a task that is not finished yet.
        info: what its state says: why it waits, or how it ended. error: the same of a failed or stopped task.
        progress: 0 to 1. eta: seconds until it is finished, estimated from the last tasks; None: not known.
        link: its page in the Prefect UI.
    """

    id: UUID
    name: str
    task_type: str
    status: Status
    state: str
    priority: int = 0
    position: int | None = None
    due: datetime | None = None
    created: datetime | None = None
    started: datetime | None = None
    completed: datetime | None = None
    params: dict[str, Any] = {}
    checkpoint: str = ""
    prompt: str = ""
    pictures: int = 0
    work: float = 0.0
    result_images: list[str] = []
    info: str = ""
    error: str | None = None
    progress: float = 0.0
    eta: float | None = None
    link: str = ""


def as_task(run: FlowRun) -> Task:
    """A flow run as a task, without what takes another question to Prefect: position, progress, ETA."""
    state = run.state
    assert state is not None, "Prefect's server gives every run a state"
    status = Status.PAUSED if state.is_cancelled() and INTERRUPTED in run.tags else STATUS[state.type]
    jobs = jobs_of(run.parameters)
    first = jobs[0] if jobs else None
    kind = first.steps()[0].stage.name if first and "job" in run.parameters else "batch"
    message = state.message or ""
    return Task(
        id=run.id,
        name=first.name if first and len(jobs) == 1 else str(run.parameters.get("name") or run.name),
        task_type=kind if jobs or "file" in run.parameters else "other",
        status=status,
        state=state.name or "",
        priority=priority_of(run),
        due=run.next_scheduled_start_time,
        created=run.created,
        started=run.start_time,
        completed=run.end_time if status in ENDED else None,
        params=run.parameters,
        checkpoint=first.checkpoint if first else "",
        prompt=first.steps()[0].settings.sampling.prompt if first else "",
        pictures=sum(job.total for job in jobs),
        work=sum(work_of(job) for job in jobs),
        info=message,
        error=message if status in (Status.FAILED, Status.STOPPED) else None,
        progress=1.0 if status is Status.COMPLETED else 0.0,
        link=url_for("flow-run", obj_id=run.id) or "",
    )


def jobs_of(parameters: dict[str, Any]) -> list[GenerationJob]:
    """The jobs in a run's parameters, those that this version understands; none of a batch from a file."""
    given = [parameters.get("job"), *(parameters.get("jobs") or [])]
    jobs = []
    for one in given:
        try:
            if isinstance(one, dict):
                jobs.append(GenerationJob.model_validate(one))
        except ValidationError:
            continue
    return jobs


def work_of(job: GenerationJob) -> float:
    """What a job takes in sampling steps of 512 × 512 pixels; a step's time grows with the pixels."""
    work = 0.0
    for step in job.steps():
        wide, high = step.settings.size or (512, 512)
        work += step.stage.weight(step) * wide * high / 512**2
    return work * job.total


def result_images(run: UUID) -> list[str]:
    """Where a run's pictures are, in order, as this machine's note of what it published has them."""
    found = published_before(str(run))
    return [one.path for key in sorted(found) for _, one in sorted(found[key].items())]
