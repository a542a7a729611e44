"""Everything that Prefect must know before a job can run: pool, blocks, deployments. Safe to repeat.

What a user changed in the Prefect UI stays: a pool's pause, a schedule's switch, a deployment's settings (until
prefect.yaml itself changes), a block's fields.
"""

from __future__ import annotations

import time

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.variables import Variable
from prefect.workers.process import ProcessWorker

from blocks.connection import WebUI, save_webui, saved_webui
from blocks.gallery import Gallery, saved_gallery
from blocks.saved import DEFAULT
from deployments.manifest import Manifest, read_manifest
from deployments.saved import NotSaved, Say, leftovers, remove, save
from store.settings import settings

POOL = "gpu"
LIMIT_SET_LAST = "darkroom_pool_limit"  # name of a Prefect variable
DEPLOYMENT = "generate/generate"
ORIGIN = "prefect.yaml"


def bootstrap(webui_url: str | None = None, say: Say = print, *, remove_leftovers: bool = False) -> None:
    """Create or update the pool, the blocks and the deployments of ``prefect.yaml``.

    Args:
        webui_url: where the block ``webui/default`` shall point; None: ``DARKROOM_WEBUI_URL`` where it is set, else
            an existing block stays as it is.
        say: called with a line for each thing that was changed, or that a person has to see to.
        remove_leftovers: delete deployments that an earlier prefect.yaml named; otherwise they are only said.

    Raises:
        TimeoutError: the API did not answer.
        ValueError: prefect.yaml or the WebUI's address is wrong, or the block ``webui/default`` cannot be read.
    """
    manifest, webui = read_manifest(), WebUI.from_settings(webui_url)  # both checked before anything is stored
    with get_client(sync_client=True) as client:
        wait_for_api(client)
        ensure_pool(client, say)
        ensure_blocks(webui, say)
        ensure_deployments(client, manifest, say, remove_leftovers)


def wait_for_api(client: SyncPrefectClient, within: float = 90.0) -> None:
    """Return when the API answers; a server's first start creates its database.

    Raises:
        TimeoutError: it did not within so many seconds.
    """
    deadline = time.monotonic() + within
    while (problem := client.api_healthcheck()) is not None:
        if time.monotonic() > deadline:
            raise TimeoutError(
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
        pool = client.create_work_pool(
            WorkPoolCreate(
                name=POOL,
                type=ProcessWorker.type,
                description="Runs that need the GPU, one at a time.",
                base_job_template=ProcessWorker.get_default_base_job_template(),
                concurrency_limit=limit,
            )
        )
        say(f"work pool {POOL}: created, {limit} at a time")
    if pool.concurrency_limit not in (limit, Variable.get(LIMIT_SET_LAST, limit)):
        found = "no limit" if pool.concurrency_limit is None else f"{pool.concurrency_limit} at a time"
        say(f"work pool {POOL}: {found}, as set in Prefect; set {limit} there to have DARKROOM_LOOKAHEAD decide again")
    else:
        if pool.concurrency_limit != limit:
            client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=limit))
            say(f"work pool {POOL}: {limit} at a time")
        Variable.set(LIMIT_SET_LAST, limit, overwrite=True)
    if pool.is_paused:
        say(f"work pool {POOL} is paused, and stays so until you resume it")


def ensure_blocks(webui: WebUI | None, say: Say) -> None:
    """The block types, and a default block of each; ``webui/default`` points to ``webui``, if given.

    Raises:
        ValueError: ``webui/default`` cannot be read, and no other is given.
    """
    WebUI.register_type_and_schema()
    Gallery.register_type_and_schema()
    if webui is None:
        saved_webui()
    else:
        save_webui(webui, say)
    try:
        if saved_gallery() is None:
            Gallery(folder=str(settings().gallery)).save(DEFAULT)
            say(f"block gallery/default: {settings().gallery}")
    except ValueError as problem:  # the Prefect UI, which `up` starts, is where it is mended
        say(str(problem))


def ensure_deployments(client: SyncPrefectClient, manifest: Manifest, say: Say, remove_leftovers: bool) -> None:
    """The deployments of the manifest; then those that an earlier one left over, which are removed or named.

    Version 0.1 kept the schedules of all jobs at ``generate/generate``. Where a job has a deployment of its own now,
    its old schedule is deleted and its switch taken over, so that nothing is painted twice.
    """
    try:
        form = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        form = None
    old = {one.slug: one for one in form.schedules if one.slug} if form is not None else {}
    switches = {slug: one.active for slug, one in old.items()}
    for entry in manifest.deployments:
        try:
            save(client, entry, ORIGIN, say, switches)
        except NotSaved as problem:
            say(str(problem))
            continue
        for slug in {one.slug for one in entry.schedules} & set(old):
            if form is not None and entry.full_name != DEPLOYMENT:
                client.delete_deployment_schedule(form.id, old[slug].id)
                say(f"schedule {slug}: moved to {entry.full_name}, {'on' if switches[slug] else 'off'}")
    for left in leftovers(client, ORIGIN, {entry.full_name for entry in manifest.deployments}):
        if not remove_leftovers:
            say(f"deployment {left}: left over, {ORIGIN} no longer names it. `darkroom deploy --remove-leftovers`")
        elif remove(client, left):
            say(f"deployment {left}: removed")
        else:
            say(f"deployment {left}: not removed, a run of it has not ended")
