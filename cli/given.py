"""What `darkroom run` and `darkroom bookmark` are given: a job file, a file of many jobs, a picture, an infotext."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from pydantic import ValidationError

from backlog import queue
from backlog.capture import capture
from backlog.estimate import Estimate
from backlog.task import Task
from backlog.timetable import closing_note, read_hours, timetables
from cli.common import complain, say
from cli.example import EXAMPLE, adapt_example
from deployments.bootstrap import DEPLOYMENT, POOL
from deployments.manifest import DeploymentEntry, PoolEntry, ScheduleEntry, When
from deployments.saved import Say, save
from flows.forecast import forecast
from flows.job import TIMETABLE, GenerationJob, explain, read_job
from flows.jobfile import holds_many, keep_jobs, read_jobs
from variations.files import read_yaml

BATCH = "batch/batch"
USER = "user"  # origin of the jobs that a user saves
PICTURES = (".png",)  # the endings of files that carry an infotext as a WebUI writes it


def queue_given(client: SyncPrefectClient, given: Path | str, priority: int) -> Task:
    """Queue a file's jobs, or the job of an infotext; the pictures that they start from are in the store by then.

    Raises:
        ValueError: it holds no job, or a wrong one.
    """
    if isinstance(given, Path) and given.suffix.lower() not in PICTURES and holds_many(given):
        kept = keep_jobs(str(given), own=True)
        say(f"{given.stem}: {forecast(client, read_jobs(kept))}")
        task = queue.create(client, BATCH, given.stem, {"name": given.stem, "file": kept}, priority)
    else:
        job = job_of(given)
        say(f"{job.name}: {forecast(client, [job])}")
        task = queue.add(client, job, priority=priority)
    try:
        own, until = Estimate(client).seconds(task) or 0, queue.work_until_done(client, task.id) or 0
        if note := closing_note(read_hours(client), datetime.now(UTC), max(0, until - own), own):
            say(f"{task.name}: {note}")
    except ValueError as error:  # the hours that somebody wrote into Prefect
        complain(error)
    return task


def job_of(given: Path | str) -> GenerationJob:
    """The one job of a job file, a picture or an infotext. What can't be carried over from a picture is said."""
    if isinstance(given, str) or given.suffix.lower() in PICTURES:
        captured = capture(given, "pasted" if isinstance(given, str) else given.stem)
        for lost in captured.lost:
            complain(f"not carried over: {lost}")
        return captured.job
    job = read_job(given)
    return adapt_example(job, say) if given.resolve() == EXAMPLE else job


def deploy_given(client: SyncPrefectClient, file: Path, say: Say) -> None:
    """Save the job of a file, or its many jobs, with the timetable that its ``when:`` says.

    Raises:
        ValueError: the file, its job or its ``when:`` is wrong, or the name is taken by a job of prefect.yaml.
    """
    content = read_yaml(file)
    if not isinstance(content, dict) or not isinstance(given := content.get(TIMETABLE), dict):
        raise ValueError(f'{file} has no timetable: write when: {{cron: "0 2 * * *", timezone: Europe/Berlin}}')
    name = str(content.get("name") or file.stem)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "timetable"
    if holds_many(file):
        flow, total = BATCH, sum(job.total for job in read_jobs(str(file), own=True))
        parameters: dict[str, Any] = {"name": name, "file": keep_jobs(str(file), own=True)}
    else:
        job = job_of(file).with_files_kept()
        flow, total, parameters = DEPLOYMENT, sum(cell.total for cell in job.cells()), {"job": job.parameters()}
    try:
        when = When.model_validate({"slug": slug, **given})
        parameters["policy"] = when.policy()
    except ValidationError as error:
        raise ValueError(f"{file}: {TIMETABLE}: {explain(error)}") from None
    if when.at_most and total > when.at_most:
        raise ValueError(f"{file}: one run makes {total} pictures, more than at_most: it would never run")
    save(client, _entry(name, flow, parameters, [when.entry()]), USER, say)
    for one in timetables(client):
        if one.deployment == f"{flow.partition('/')[0]}/{name}":
            say(f"{one.deployment}: {one.when}, {'on' if one.active else f'off: darkroom timetable resume {name}'}")


def _entry(name: str, flow: str, parameters: dict[str, Any], schedules: list[ScheduleEntry]) -> DeploymentEntry:
    return DeploymentEntry(
        name=name,
        entrypoint=f"flows.{flow.replace('/', '.')}",
        parameters=parameters,
        work_pool=PoolEntry(name=POOL),
        schedules=schedules,
    )


def save_given(client: SyncPrefectClient, given: str | GenerationJob, name: str, say: Say) -> None:
    """Save a job, or the one of a file, a picture or a task of the queue, as a deployment.

    Raises:
        ValueError: it holds no job, or the name is taken by a job of prefect.yaml.
    """
    if isinstance(given, GenerationJob):
        job = given
    elif Path(given).is_file():
        job = job_of(Path(given)).with_files_kept()
    else:
        try:
            task = queue.show(client, UUID(given))
        except ValueError:
            raise ValueError(f"{given}: neither a file nor the id of a task") from None
        job = GenerationJob.model_validate(task.params.get("job"))
    parameters = {"job": job.model_copy(update={"name": name}).parameters()}
    save(client, _entry(name, DEPLOYMENT, parameters, []), USER, say)
