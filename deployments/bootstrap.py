"""Everything that Prefect must know before a job can run: pool, blocks, deployments. Safe to repeat.

What a user changed in the Prefect UI stays: a pool's pause, a schedule's switch, a deployment's settings (until
prefect.yaml itself changes), a block's fields.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.variables import Variable
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel, SecretStr

from blocks import connection, gallery
from blocks.connection import WebUI
from blocks.gallery import Gallery
from deployments.manifest import Planned, Timetable, read_manifest
from store.settings import settings

POOL = "gpu"
LIMIT_SET_LAST = "darkroom_pool_limit"  # name of a Prefect variable
DEPLOYMENT = "generate/generate"
READY_WITHIN = 90.0  # seconds; a first start creates the database, and a small machine is slow at it
Say = Callable[[str], None]


class NotReady(TimeoutError):
    """Prefect's API did not answer in time."""


def bootstrap(webui_url: str | None = None, say: Say = print) -> None:
    """Create or update the pool, the blocks and the deployments of ``prefect.yaml``.

    Args:
        webui_url: where the block ``webui/default`` shall point; None: ``DARKROOM_WEBUI_URL`` where it is set, else
            an existing block stays as it is.
        say: called with a line for each thing that was changed.

    Raises:
        NotReady: the API is not there.
        ValueError: prefect.yaml is wrong.
    """
    manifest = read_manifest()
    with get_client(sync_client=True) as client:
        wait_for_api(client)
        ensure_pool(client, say)
        ensure_blocks(webui_url, say)
        for planned in manifest.deployments:
            ensure_deployment(client, planned, say)


def wait_for_api(client: SyncPrefectClient, within: float = READY_WITHIN) -> None:
    """Return when the API answers.

    Raises:
        NotReady: it did not within so many seconds.
    """
    deadline = time.monotonic() + within
    while (problem := client.api_healthcheck()) is not None:
        if time.monotonic() > deadline:
            raise NotReady(
                f"Prefect's API at {client.api_url} did not answer in {within:g} s ({problem}). "
                "Is the address in PREFECT_API_URL right, and does the server run?"
            )
        time.sleep(0.1)


def ensure_pool(client: SyncPrefectClient, say: Say) -> None:
    """The pool ``gpu``, with a limit of one run at a time, or two with look-ahead.

    Its pause is the user's, and so is its limit once it is another than the one that we set last, which the Prefect
    variable ``darkroom_pool_limit`` holds.
    """
    limit = 2 if settings().lookahead else 1
    try:
        pool = client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(
                name=POOL,
                type=ProcessWorker.type,
                description="Runs that need the GPU, one at a time.",
                base_job_template=template,
                concurrency_limit=limit,
            )
        )
        Variable.set(LIMIT_SET_LAST, limit, overwrite=True)
        say(f"work pool {POOL}: created, {limit} at a time")
        return
    if pool.concurrency_limit == limit:
        Variable.set(LIMIT_SET_LAST, limit, overwrite=True)
    elif pool.concurrency_limit is not None and pool.concurrency_limit == Variable.get(LIMIT_SET_LAST):
        client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=limit))
        Variable.set(LIMIT_SET_LAST, limit, overwrite=True)
        say(f"work pool {POOL}: {limit} at a time")
    else:
        found = "no limit" if pool.concurrency_limit is None else f"{pool.concurrency_limit} at a time"
        say(f"work pool {POOL}: {found}, as set in Prefect; set {limit} there to have DARKROOM_LOOKAHEAD decide again")
    if pool.is_paused:
        say(f"work pool {POOL} is paused, and stays so until you resume it")


def ensure_blocks(webui_url: str | None, say: Say) -> None:
    """The block types, and a default block of each."""
    WebUI.register_type_and_schema()
    Gallery.register_type_and_schema()
    wanted = webui_url or settings().webui_url
    user, _, password = settings().webui_auth.partition(":")
    existing = saved_webui()
    if existing is None and wanted:
        WebUI(base_url=wanted, user=user, password=SecretStr(password)).save(connection.DEFAULT)
        say(f"block webui/default: {wanted}")
    elif existing is not None and wanted and existing.base_url != wanted.rstrip("/"):
        existing.base_url = wanted.rstrip("/")
        if user:
            existing.user, existing.password = user, SecretStr(password)
        existing.save(connection.DEFAULT, overwrite=True)
        say(f"block webui/default: now {wanted}")
    try:
        Gallery.load(gallery.DEFAULT)
    except ValueError:
        Gallery(folder=str(settings().gallery)).save(gallery.DEFAULT)
        say(f"block gallery/default: {settings().gallery}")


def saved_webui() -> WebUI | None:
    """The block ``webui/default``, if there is one."""
    try:
        return WebUI.load(connection.DEFAULT)  # type: ignore[return-value]
    except ValueError:
        return None


def ensure_deployment(client: SyncPrefectClient, planned: Planned, say: Say) -> None:
    """The deployment and its schedules.

    Prefect throws away the runs that a deployment's schedules have laid out whenever it is updated, so it is updated
    only when it changed: its version is a digest of what prefect.yaml and the flow's signature say.
    """
    deployment = _build(planned)
    assert deployment.version is not None
    try:
        existing = client.read_deployment_by_name(deployment.full_name)
    except ObjectNotFound:
        existing = None
    if existing is None or existing.version != deployment.version:
        deployment.apply()
        say(f"deployment {deployment.full_name}: {'updated' if existing else 'created'}")
        existing = client.read_deployment_by_name(deployment.full_name)
    known = {schedule.slug: schedule for schedule in existing.schedules}
    for timetable in planned.schedules:
        there = known.get(timetable.slug)
        if there is None:
            client.create_deployment_schedules(existing.id, [timetable.to_create()])
            say(f"schedule {timetable.slug}: created, {'active' if timetable.active else 'not active'}")
        elif _differs(there, timetable):
            client.update_deployment_schedule(
                existing.id, there.id, schedule=timetable.schedule(), parameters=timetable.parameters
            )
            say(f"schedule {timetable.slug}: updated")


def _build(planned: Planned) -> RunnerDeployment:
    flow: Flow[Any, Any] = load_flow_from_entrypoint(planned.entrypoint)
    said = [planned.model_dump(mode="json", exclude={"schedules"}), flow.description, repr(flow.parameters)]
    return RunnerDeployment.from_flow(
        flow,
        name=planned.name,
        description=planned.description or None,
        tags=planned.tags,
        parameters=planned.parameters,
        concurrency_limit=planned.concurrency_limit,
        work_pool_name=planned.work_pool.name,
        work_queue_name=planned.work_pool.work_queue_name,
        job_variables=planned.work_pool.job_variables,
        version=hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12],
        # As a file, it would be looked for in this machine's directory, and all of that copied for each run.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _differs(there: DeploymentSchedule, timetable: Timetable) -> bool:
    """Whether the timetable itself changed; its switch is the user's."""
    return _rule(there.schedule) != _rule(timetable.schedule()) or there.parameters != timetable.parameters


def _rule(schedule: BaseModel) -> dict[str, Any]:
    """What a schedule says, without the beginnings that Prefect fills in."""
    said = schedule.model_dump(mode="json", exclude={"anchor_date"})
    if "rrule" in said:
        said["rrule"] = re.sub(r"DTSTART[^\n]*\n|RRULE:", "", said["rrule"])
    return said


def workers_online() -> list[str]:
    """Names of the workers that Prefect saw in the pool within their heartbeat."""
    with get_client(sync_client=True) as client:
        workers = client.read_workers_for_work_pool(POOL)
    return [worker.name for worker in workers if worker.status == "ONLINE"]
