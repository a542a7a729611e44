"""What `darkroom run` and `darkroom bookmark` are given: a job file, a file of many jobs, a picture, an infotext."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient

from backlog import queue
from backlog.capture import capture
from backlog.task import Task
from cli.common import complain, say
from cli.example import EXAMPLE, adapt_example
from deployments.bootstrap import DEPLOYMENT, POOL
from deployments.manifest import DeploymentEntry, PoolEntry
from deployments.saved import Say, save
from flows.forecast import forecast
from flows.job import GenerationJob, read_job
from flows.jobfile import holds_many, keep_jobs, read_jobs

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
        return queue.create(client, "batch/batch", given.stem, {"name": given.stem, "file": kept}, priority)
    job = job_of(given)
    say(f"{job.name}: {forecast(client, [job])}")
    return queue.add(client, job, priority=priority)


def job_of(given: Path | str) -> GenerationJob:
    """The one job of a job file, a picture or an infotext. What can't be carried over from a picture is said."""
    if isinstance(given, str) or given.suffix.lower() in PICTURES:
        captured = capture(given, "pasted" if isinstance(given, str) else given.stem)
        for lost in captured.lost:
            complain(f"not carried over: {lost}")
        return captured.job
    job = read_job(given)
    return adapt_example(job, say) if given.resolve() == EXAMPLE else job


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
    entry = DeploymentEntry(
        name=name,
        entrypoint=f"flows.{DEPLOYMENT.replace('/', '.')}",
        parameters={"job": job.model_copy(update={"name": name}).parameters()},
        work_pool=PoolEntry(name=POOL),
    )
    save(client, entry, USER, say)
