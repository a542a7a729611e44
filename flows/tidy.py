"""Remove what is old and what no job needs: files of ended runs, given files, the history of runs in Prefect.

A run that waits or runs, or has ended lately, keeps all that it and its Retry need, whatever its age. What a deployment
(a saved job) or an automation names stays for good. The gallery is never touched. No GPU is needed, so none is leased.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
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

from store.inputs import references
from store.settings import settings
from tasks.status import RESULTS

Days = Annotated[int, Field(ge=2, le=3650)]  # two at least: the worker resumes runs that ended within the last day
KINDS = FILES, GIVEN, HISTORY = "files of a run", "given file", "history of a run"
MOST_ROWS = 200  # of the table, which lies in Prefect's database itself


@dataclass
class Old:
    """Something that may go; ``last_used``: when its run ended, or when the file was written."""

    kind: str
    name: str
    last_used: datetime
    run: str = ""  # id of the run that it is of
    paths: list[Path] = field(default_factory=list)  # none of a run's history, which is in Prefect's database

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(one.stat().st_size for path in self.paths for one in [path, *children(path)] if one.is_file())


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
        found = old_files(runs, [one.model_dump_json() for one in saved], files)
        found += [Old(HISTORY, runs[run].name, end, run) for run, end in ends(runs, history).items()]
        report(found, "would go" if dry_run else "goes")
        if not dry_run:
            remove(client, found)


def every(read: Callable[..., list[Any]], **query: Any) -> Iterator[Any]:
    """All pages of a list, half of each twice: what is deleted meanwhile moves the rest past the next page's start."""
    offset = 0
    while page := read(offset=offset, **query):
        yield from page
        offset += max(1, len(page) // 2)


def ended(run: FlowRun) -> datetime | None:
    """When a run ended; None: it has not."""
    return run.state.timestamp if run.state and run.state.is_final() else None


def ends(runs: dict[str, FlowRun], before: datetime) -> dict[str, datetime]:
    """The runs that ended before, and when."""
    return {run: end for run, known in runs.items() if (end := ended(known)) and end < before}


def old_files(runs: dict[str, FlowRun], saved: list[str], before: datetime) -> list[Old]:
    """Files that were written before, of runs that ended before. ``runs`` are all that Prefect has: the files of
    another run, which was deleted there, go by their own age. ``saved`` are texts with the jobs of deployments.
    """
    folders = {path.name for path in children(settings().runs)}
    results: dict[str, list[Path]] = {}
    for path in children(RESULTS):  # named by the cache keys of our tasks, which begin with the run's id
        results.setdefault(path.name[:36], []).append(path)
    old, found, texts = ends(runs, before), [], list(saved)
    for run in runs.keys() | folders:
        known, paths = runs.get(run), results.get(run, [])
        if known is not None and run not in old:
            texts += [str(known.parameters), *(path.read_text(errors="replace") for path in paths)]
            continue
        # What the flow returned is a file of another name; only the run's state has it.
        key = getattr(known and known.state and known.state.data, "storage_key", None)
        own = [RESULTS / key] if key and (RESULTS / key).parent == RESULTS else []
        paths = [path for path in [*paths, *own, settings().runs / run] if path.exists()]
        if paths and (used := old.get(run) or max(map(last_change, paths))) < before:
            found.append(Old(FILES, run, used, run, paths))
    return found + old_inputs(texts, before)


def old_inputs(texts: list[str], before: datetime) -> list[Old]:
    """Old files in the store that none of the texts names, nor a file of many jobs that stays itself."""
    files = {path.name: path for folder in children(settings().store) for path in children(folder)}
    old = {name: used for name, path in files.items() if (used := last_change(path)) < before}
    named = set().union(*map(references, texts))
    for name in [name for name in files if name.endswith(".jsonl") and (name in named or name not in old)]:
        named |= references(files[name].read_text(errors="replace"))
    return [Old(GIVEN, name, used, paths=[files[name]]) for name, used in sorted(old.items()) if name not in named]


def children(folder: Path) -> list[Path]:
    """But for what is being written."""
    return [path for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []


def last_change(path: Path) -> datetime:
    """When a file was written; of a folder, the newest in it."""
    return datetime.fromtimestamp(max(one.stat().st_mtime for one in [path, *children(path)]), UTC)


def report(found: list[Old], verb: str) -> None:
    """The artifact "tidy": the sums of each kind, and the largest things."""
    sizes = {kind: [old.size for old in found if old.kind == kind] for kind in KINDS}
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
    if only and any(ended(run) != old.last_used for run in client.read_flow_runs(flow_run_filter=only)):
        return
    for path in old.paths:
        if old.kind == GIVEN and last_change(path) != old.last_used:
            return
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if old.kind == HISTORY:  # with its artifacts, which Prefect would keep
        for artifact in {one.id for one in every(client.read_artifacts, flow_run_filter=only)}:
            client.delete_artifact(artifact)
        client.delete_flow_run(UUID(old.run))
