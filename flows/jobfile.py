"""Files of many jobs: YAML, JSONL or CSV, kept whole in the store when a batch is queued.

YAML is a list of jobs, or ``{defaults: …, jobs: […]}`` where each job is laid over the defaults. JSONL has a job in
each line. CSV has a header of dotted fields, such as ``name,checkpoint,txt2img.prompt,txt2img.steps``; empty cells
are left out.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows.job import GenerationJob, explain
from store.inputs import is_outside, put, stored
from store.parsing import parse_yaml, read_text

MOST_JOBS = 10_000


def holds_many(path: Path) -> bool:
    """Whether a file is one of many jobs, not of a single one."""
    if path.suffix.lower() in (".jsonl", ".csv"):
        return True
    try:
        content = parse_yaml(read_text(path))
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
    entries = _entries(path)
    if len(entries) > MOST_JOBS:
        raise ValueError(f"{path}: {len(entries)} jobs are too many for one batch: at most {MOST_JOBS}")
    jobs, problems = [], []
    for number, entry in enumerate(entries, start=1):
        try:
            entry.setdefault("name", f"{path.stem[:60]}-{number:04}")
            jobs.append(GenerationJob.model_validate(entry).with_files_kept(path.parent if own else None))
        except ValidationError as error:
            problems.append(f"job {number}: {explain(error)}")
        except ValueError as error:
            problems.append(f"job {number}: {error}")
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


def _entries(path: Path) -> list[dict[str, Any]]:
    text = read_text(path)
    try:
        match path.suffix.lower():
            case ".yaml" | ".yml":
                entries = _from_yaml(parse_yaml(text))
            case ".jsonl":
                entries = [json.loads(line) for line in text.splitlines() if line.strip()]
            case ".csv":
                entries = [_nested(line) for line in csv.DictReader(text.splitlines())]
            case _:
                raise ValueError("a file of jobs ends with .yaml, .jsonl or .csv")
    except (ValueError, csv.Error, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path} holds no list of jobs")
    return entries


def _from_yaml(content: Any) -> list[Any]:
    if isinstance(content, dict):
        defaults, jobs = content.get("defaults") or {}, content.get("jobs")
        return [_laid_over(defaults, job) for job in jobs] if isinstance(jobs, list) else []
    return content if isinstance(content, list) else []


def _laid_over(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _laid_over(below.get(key), value) for key, value in above.items()}
    return above


def _nested(line: dict[str | None, str | None]) -> dict[str, Any]:
    """A CSV line's dotted fields as the nested fields of a job; values are read as YAML scalars."""
    if None in line:
        raise ValueError("a line has more cells than the header")
    job: dict[str, Any] = {}
    for name, cell in line.items():
        if name is None or cell is None or not cell.strip():
            continue
        *groups, last = name.strip().split(".")
        within = job
        for group in groups:
            within = within.setdefault(group, {})
            if not isinstance(within, dict):
                raise ValueError(f"the column {name.strip()} is part of {group}, which has a column of its own")
        text_only = last in ("prompt", "negative_prompt", "name", "checkpoint")
        within[last] = cell.strip() if text_only else parse_yaml(cell)
    return job
