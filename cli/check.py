"""``darkroom check``: is everything there that a job needs?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from backlog.timetable import read_hours
from blocks.connection import WebUI
from blocks.gallery import Gallery
from deployments.bootstrap import DEPLOYMENT, POOL
from store.settings import settings
from webui.errors import WebUIError

Finding = tuple[bool, str]
WHAT_TO_CHECK = (
    "Does it run, is PREFECT_API_URL right, and for 401 Unauthorized: is its user:password in PREFECT_API_AUTH_STRING?"
)


def check_all(api_url: str | None, say: Callable[[str], None]) -> int:
    """Say each finding; returns 0 when nothing is missing, else 1."""
    findings = list(_findings(api_url))
    for fine, text in findings:
        say(f"{'ok     ' if fine else 'MISSING'}  {text}")
    return 0 if all(fine for fine, _ in findings) else 1


def _findings(api_url: str | None) -> Iterator[Finding]:
    prefect = list(prefect_findings(api_url))
    yield from prefect
    if all(fine for fine, _ in prefect):
        yield from _whether_runs_start()
    answers, _ = prefect[0]
    yield from _webui(answers)
    yield _gallery(answers)


def prefect_findings(api_url: str | None) -> Iterator[Finding]:
    """Whether there is a Prefect that holds what ``darkroom deploy`` puts into it; ends with the first problem."""
    if api_url is None:
        yield False, "Prefect: no server. Run `darkroom up`, or set PREFECT_API_URL=http://host:4200/api"
        return
    try:
        with get_client(sync_client=True) as client:
            yield True, f"Prefect: {api_url}, version {client.api_version()}"
            client.read_work_pool(POOL)
            client.read_deployment_by_name(DEPLOYMENT)
            yield True, f"work pool {POOL} and deployment {DEPLOYMENT}: there"
    except ObjectNotFound:
        yield False, f"Prefect: {api_url} lacks the work pool {POOL} or {DEPLOYMENT}. Run `darkroom deploy`"
    except (httpx.HTTPError, ValueError) as error:  # ValueError: what it answers is not JSON
        reason = str(error).partition("\n")[0] or type(error).__name__
        yield False, f"Prefect: {api_url} can't be used ({reason}). {WHAT_TO_CHECK}"


def _whether_runs_start() -> Iterator[Finding]:
    from worker.readiness import END_OF_REASON, ON_HOLD  # here, for it takes a second that `darkroom run` need not wait

    with get_client(sync_client=True) as client:
        try:
            yield True, f"GPU hours: {read_hours(client)}"
        except ValueError as error:
            yield False, f"GPU hours: {error}: darkroom hours"
        pool = client.read_work_pool(POOL)
        if (pool.description or "").startswith(ON_HOLD):
            yield False, f"work pool {POOL}: {str(pool.description).partition(END_OF_REASON)[0]}"
        if pool.is_paused:
            yield False, f"work pool {POOL}: paused. Resume it in the UI, or: prefect work-pool resume {POOL}"
        if client.read_deployment_by_name(DEPLOYMENT).paused:
            yield False, f"deployment {DEPLOYMENT}: paused. Resume it in the UI"
        workers = [one.name for one in client.read_workers_for_work_pool(POOL) if one.status == "ONLINE"]
    yield bool(workers), f"worker: {', '.join(workers) or 'none is online. Run `darkroom worker`'}"


def _webui(prefect: bool) -> Iterator[Finding]:
    """``prefect``: whether there is one to ask for the block."""
    try:
        connection = WebUI.chosen(None) if prefect else WebUI.from_settings()
    except ValueError as error:
        yield False, f"WebUI: {error}"
        return
    if connection is None:
        yield False, "WebUI: DARKROOM_WEBUI_URL is not set, and without Prefect there is no block to ask"
        return
    client = connection.get_client()
    try:
        checkpoints = client.checkpoints()
        yield True, f"WebUI: {connection.base_url}, {'Forge' if client.is_forge() else 'AUTOMATIC1111'}"
        yield bool(checkpoints), f"checkpoints: {len(checkpoints) or 'none. Put one into models/Stable-diffusion'}"
        version = client.adetailer_version()
        yield version is not None, f"ADetailer: {version or 'not there. Install the extension; jobs without it work'}"
    except WebUIError as error:
        yield False, f"WebUI: {error}"


def _gallery(prefect: bool) -> Finding:
    try:
        gallery = Gallery.chosen(None) if prefect else Gallery(folder=str(settings().gallery))
    except ValueError as error:
        return False, f"gallery: {error}"
    if gallery.file_system:
        return True, f"gallery: {gallery.file_system} (not tried)"
    folder: Path = gallery.local_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return False, f"gallery: {folder} can't be written ({error.strerror})"
    return True, f"gallery: {folder}"
