"""A file of many jobs as the JSON of each: YAML, JSONL or CSV.

YAML is a list of jobs, or ``{defaults: …, jobs: […]}`` where each job is laid over the defaults. JSONL has a job in
each line. CSV has a header of dotted fields, such as ``name,checkpoint,txt2img.prompt,txt2img.steps``; empty cells
are left out.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import yaml

TEXT = ("prompt", "negative_prompt", "name", "checkpoint")  # cells that are text, whatever they look like


def read_yaml(path: Path) -> Any:
    """
    Raises:
        ValueError: it can't be read, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is no YAML: {error}") from None


def is_table(path: Path) -> bool:
    """Whether each line is a job."""
    return path.suffix.lower() in (".jsonl", ".csv")


def read_jobs(path: Path) -> list[dict[str, Any]]:
    """The jobs of a file.

    Raises:
        ValueError: it holds no jobs; says what is wrong.
    """
    jobs = _lines(path) if is_table(path) else _listed(read_yaml(path))
    if not jobs or not all(isinstance(job, dict) for job in jobs):
        raise ValueError(f"{path} holds no list of jobs; such a file ends with .yaml, .jsonl or .csv")
    return jobs


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        if path.suffix.lower() == ".csv":
            return [_nested(line) for line in csv.DictReader(lines)]
        return [json.loads(line) for line in lines if line.strip()]
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from None


def _listed(content: Any) -> list[Any]:
    if isinstance(content, dict):
        return [laid_over(content.get("defaults") or {}, job) for job in content.get("jobs") or []]
    return content if isinstance(content, list) else []


def laid_over(below: Any, above: Any) -> Any:
    """``above`` with what only ``below`` has, at every depth."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: laid_over(below.get(key), value) for key, value in above.items()}
    return above


def _nested(line: dict[str | None, str | None]) -> dict[str, Any]:
    """A CSV line's dotted fields as the nested fields of a job; values are read as YAML scalars."""
    if None in line:
        raise ValueError(f"a line has more cells than the header: {line}")
    job: dict[str, Any] = {}
    for name, cell in line.items():
        if name is None or cell is None or not cell.strip():
            continue
        *groups, last = name.strip().split(".")
        within = job
        for group in groups:
            within = within.setdefault(group, {})
        within[last] = cell.strip() if last in TEXT else yaml.safe_load(cell)
    return job
