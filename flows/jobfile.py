"""Files of many jobs, kept whole in the store when a batch is queued."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from flows.job import GenerationJob, checked, explain
from store.inputs import is_outside, put, stored
from variations import files

MOST_JOBS = 10_000


def holds_many(path: Path) -> bool:
    """Whether a file is one of many jobs, not of a single one."""
    if files.is_table(path):
        return True
    try:
        content = files.read_yaml(path)
    except ValueError:
        return False  # reading it as a job says what is wrong with it
    return isinstance(content, list) or (isinstance(content, dict) and "jobs" in content)


def read_jobs(file: str, *, own: bool = False) -> list[GenerationJob]:
    """The jobs of a file or of a reference into the store, their own files kept in the store.

    ``own``: the user of this command gives the file; else a run names it, see :func:`store.inputs.stored`.

    Raises:
        ValueError: says which job of the file is wrong, and how; all wrong ones at once.
    """
    path = Path(file).expanduser() if own and is_outside(file) else stored(file)
    entries = files.read_jobs(path)
    if len(entries) > MOST_JOBS:
        raise ValueError(f"{path}: {len(entries)} jobs are too many for one batch: at most {MOST_JOBS}")
    jobs, problems = [], []
    for number, entry in enumerate(entries, start=1):
        try:
            jobs.append(checked(entry, f"{path.stem[:60]}-{number:04}", beside=path.parent if own else None))
        except ValueError as error:
            problems.append(f"job {number}: {explain(error)}")
    if problems:
        raise ValueError(f"{path}: " + "; ".join(problems[:20]))
    return jobs


def keep_jobs(file: str, *, own: bool = False) -> str:
    """Read a file's jobs (see :func:`read_jobs`) and keep them in the store; returns the reference.

    Raises:
        ValueError: a job is wrong.
    """
    if not is_outside(file):
        return file
    content = "".join(json.dumps(job.parameters()) + "\n" for job in read_jobs(file, own=own)).encode()
    return put(f"{hashlib.sha256(content).hexdigest()}.jsonl", content)
