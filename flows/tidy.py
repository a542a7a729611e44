"""Remove what is old and what no job needs: files of ended runs, given files, the history of runs in Prefect.

What a deployment (a saved job) or an automation names stays for good. The gallery is never touched. No GPU is needed,
so none is leased.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import httpx
from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from pydantic import Field

from pictures.old import FILES, GIVEN, Old, Run, last_change, old_files
from tasks.status import RESULTS

Days = Annotated[int, Field(ge=2, le=3650)]  # two at least: the worker resumes runs that ended within the last day
HISTORY = "history of a run"
MOST_ROWS = 200  # of the table, which lies in Prefect's database itself


@flow(name="tidy", flow_run_name="tidy")
def tidy(dry_run: bool = True, files_days: Days = 30, history_days: Days = 90) -> None:
    """List in the artifact "tidy" what is old and needed by no job, and remove it where dry_run is off.

    Args:
        dry_run: Only list it.
        files_days: Days that a run's pictures and results, which Retry needs, and given files are kept after its end.
        history_days: Days that Prefect shows a run with its artifacts; at least as long as its files.
    """
    now = datetime.now(UTC)
    files, history = now - timedelta(days=files_days), now - timedelta(days=max(files_days, history_days))
    with get_client(sync_client=True) as client:
        runs = {str(run.id): run for run in every(client.read_flow_runs, sort=FlowRunSort.ID_DESC)}
        saved = [*every(client.read_deployments), *every(client.read_automations)]
        known = {run: seen(one) for run, one in runs.items()}
        found = old_files(known, RESULTS, [one.model_dump_json() for one in saved], files)
        ends = [(run, one.ended) for run, one in known.items() if one.ended and one.ended < history]
        found += [Old(HISTORY, runs[run].name, end, run) for run, end in ends]
        report(found, "would go" if dry_run else "goes")
        if not dry_run:
            remove(client, found)


def every(read: Callable[..., list[Any]], **query: Any) -> Iterator[Any]:
    """All pages of a list, half of each twice: what is deleted meanwhile moves the rest past the next page's start."""
    offset = 0
    while page := read(offset=offset, **query):
        yield from page
        offset += max(1, len(page) // 2)


def seen(run: FlowRun) -> Run:
    """A run without Prefect's types. What the flow returned is a file whose name only the run's state has."""
    ended = run.state.timestamp if run.state and run.state.is_final() else None
    return Run(ended, str(run.parameters), getattr(run.state and run.state.data, "storage_key", None) or "")


def report(found: list[Old], verb: str) -> None:
    """The artifact "tidy": the sums of each kind, and the largest things."""
    sizes = {kind: [old.size for old in found if old.kind == kind] for kind in (FILES, GIVEN, HISTORY)}
    sums = [f"{kind}: {len(each)}, {sum(each) / 1e6:.2f} MB" for kind, each in sizes.items()]
    rows = [
        {"kind": old.kind, "what": old.name, "MB": f"{old.size / 1e6:.2f}", "last used": f"{old.last_used:%Y-%m-%d}"}
        for old in sorted(found, key=lambda old: -old.size)[:MOST_ROWS]
    ]
    create_table_artifact(rows, key="tidy", description=f"What {verb}. " + "; ".join(sums))


def remove(client: SyncPrefectClient, found: list[Old]) -> None:
    """Remove one after the other.

    Raises:
        RuntimeError: at the end, where something could not be removed.
    """
    failed = 0
    for old in found:
        try:
            remove_one(client, old)
        except ObjectNotFound:
            pass  # somebody else has removed it
        except (OSError, httpx.HTTPError) as error:
            failed += 1
            get_run_logger().error("%s %s stays: %s", old.kind, old.name, error)
    if failed:
        raise RuntimeError(f"{failed} of {len(found)} could not be removed (see the log); the next run tries again")


def remove_one(client: SyncPrefectClient, old: Old) -> None:
    """Remove it, unless its run was started again, or its file given again, since it was listed."""
    only = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(old.run)])) if old.run else None
    if only and any(seen(run).ended != old.last_used for run in client.read_flow_runs(flow_run_filter=only)):
        return
    for path in old.paths:
        if old.kind == GIVEN and last_change(path) != old.last_used:
            return
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if old.kind == HISTORY:  # with its artifacts, which Prefect would keep
        for artifact in {one.id for one in every(client.read_artifacts, flow_run_filter=only)}:
            client.delete_artifact(artifact)
        client.delete_flow_run(UUID(old.run))
