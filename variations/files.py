"""A file of many jobs as the JSON of each: YAML, JSONL or CSV.

YAML is a list of jobs, or ``{defaults: …, jobs: […]}`` where each job is laid over the defaults; ``jobs: lines.txt``
takes them from a file beside it, one of those that follow. JSONL has a job in each line. CSV has a header of dotted
fields, such as ``name,checkpoint,txt2img.prompt,txt2img.steps``; empty cells are left out. Text has a prompt in each
line, but for empty ones and those that begin with #.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from store.parsing import parse_yaml, read_text

TEXT = ("prompt", "negative_prompt", "name", "checkpoint")  # cells that are text, whatever they look like


def read_yaml(path: Path) -> Any:
    """
    Raises:
        ValueError: it can't be read, or is no YAML.
    """
    text = read_text(path)
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path} is {error}") from None


def is_table(path: Path) -> bool:
    """Whether each line is a job."""
    return path.suffix.lower() in (".jsonl", ".csv")


def read_jobs(path: Path) -> list[dict[str, Any]]:
    """The jobs of a file.

    Raises:
        ValueError: it holds no jobs; says what is wrong.
    """
    jobs = _lines(path) if is_table(path) else _listed(read_yaml(path), path.parent)
    if not jobs or not all(isinstance(job, dict) for job in jobs):
        raise ValueError(f"{path} holds no list of jobs; such a file ends with .yaml, .jsonl or .csv")
    return jobs


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = read_text(path).splitlines()
    try:
        if path.suffix.lower() == ".csv":
            return [_nested(line) for line in csv.DictReader(lines)]
        if path.suffix.lower() == ".txt":
            prompts = [line.strip() for line in lines if line.strip() and line[0] != "#"]
            return [{"txt2img": {"prompt": prompt}} for prompt in prompts]
        return [json.loads(line) for line in lines if line.strip()]
    except (ValueError, csv.Error, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


def _listed(content: Any, folder: Path) -> list[Any]:
    if isinstance(content, dict):
        defaults, jobs = content.get("defaults") or {}, content.get("jobs") or []
        if isinstance(jobs, str):
            path = (folder / jobs).resolve()  # links followed: a run may read nothing from elsewhere
            if not path.is_relative_to(folder.resolve()):
                raise ValueError(f"jobs: {jobs} is not beside the file that names it")
            jobs = _lines(path)
        return [_laid_over(defaults, job) for job in jobs] if isinstance(jobs, list) else []
    return content if isinstance(content, list) else []


def _laid_over(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _laid_over(below.get(key), value) for key, value in above.items()}
    return above


def _nested(line: dict[str | None, str | None]) -> dict[str, Any]:
    """A CSV line's dotted fields as the nested fields of a job."""
    if None in line:
        raise ValueError("a line has more cells than the header")
    job: dict[str, Any] = {}
    for name, cell in line.items():
        if name and cell and cell.strip():
            put_field(job, name.strip(), cell.strip())
    return job


def put_field(job: dict[str, Any], name: str, text: str) -> None:
    """Put a dotted field, such as ``txt2img.steps``, into a job; its text is YAML, but for prompts and names. Raises
    ValueError where it is none, or where the field is part of one that has a value of its own."""
    *groups, last = name.split(".")
    within = job
    for group in groups:
        within = within.setdefault(group, {})
        if not isinstance(within, dict):
            raise ValueError(f"{name} is part of {group}, which has a value of its own")
    within[last] = text if last in TEXT else parse_yaml(text)
