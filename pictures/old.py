"""Which files are old and needed by no job: those of ended runs, and given ones.

A run that waits or runs, or has ended lately, keeps all that it and its Retry need, whatever its age.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from store.inputs import references
from store.settings import settings

FILES, GIVEN = "files of a run", "given file"


@dataclass
class Run:
    """What is known of a run: when it ended (None: it has not), its parameters as text, its result's file name."""

    ended: datetime | None
    parameters: str
    result: str = ""


@dataclass
class Old:
    """Something that may go; ``last_used``: when its run ended, or when the file was written."""

    kind: str
    name: str
    last_used: datetime
    run: str = ""  # id of the run that it is of
    paths: list[Path] = field(default_factory=list)

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(one.stat().st_size for path in self.paths for one in [path, *children(path)] if one.is_file())


def old_files(runs: dict[str, Run], results: Path, saved: list[str], before: datetime) -> list[Old]:
    """Files that were written before, of runs that ended before. ``runs`` are all that Prefect has: files of another,
    which was deleted there, go by their age. ``results`` is Prefect's folder; ``saved``: texts with deployments' jobs.
    """
    of_tasks: dict[str, list[Path]] = {}
    for path in children(results):  # named by the cache keys of our tasks, which begin with the run's id
        of_tasks.setdefault(path.name[:36], []).append(path)
    found, texts = [], list(saved)
    for run in runs.keys() | {path.name for path in children(settings().runs)}:
        known, paths = runs.get(run), of_tasks.get(run, [])
        if known and (known.ended is None or known.ended >= before):
            texts += [known.parameters, *(path.read_text(errors="replace") for path in paths)]
            continue
        if known and known.result and (results / known.result).parent == results:
            paths = [*paths, results / known.result]
        paths = [path for path in [*paths, settings().runs / run] if path.exists()]
        if paths and (used := (known and known.ended) or max(map(last_change, paths))) < before:
            found.append(Old(FILES, run, used, run, paths))
    return found + _old_inputs(texts, before)


def _old_inputs(texts: list[str], before: datetime) -> list[Old]:
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
