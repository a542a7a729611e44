"""A sweep: one job over the values of up to three of its fields, as one job for each cell.

The first axis is a grid's columns (x), the second its rows (y), the third (z) makes a grid of each of its values.
"""

from __future__ import annotations

import re
from copy import deepcopy
from decimal import Decimal
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from store.inputs import keep
from store.settings import settings

MOST_AXES = 3
MOST_CELLS = 500  # so that a slip, such as 10 × 10 × 10, does not fill the night
OF_THE_JOB = ("checkpoint", "vae", "images", "init_images")  # fields of no stage
RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?")


def _field(position: int, title: str, description: str, default: Any = ..., **bounds: Any) -> Any:
    return Field(default, title=title, description=description, json_schema_extra={"position": position}, **bounds)


class Axis(BaseModel):
    """A field, and the values that it takes in turn: part of a job's form."""

    model_config = ConfigDict(extra="forbid")

    name: str = _field(1, "Field", "cfg_scale, checkpoint, seed, prompt, img2img.denoising_strength and the like.")
    values: list[str] = _field(
        2, "Values", "Values, or ranges: 1..8, and 0.2..0.8..0.1 with a step.", min_length=1, max_length=MOST_CELLS
    )
    search: str = _field(3, "Search", "Text in the field that each value replaces. Empty: all of it.", default="")

    @field_validator("values", mode="before")
    @classmethod
    def _texts(cls, given: Any) -> Any:
        return [str(one) for one in (given if isinstance(given, list) else [given])]

    @property
    def files(self) -> list[str]:
        return self.values if self.name.rpartition(".")[2] in ("init_images", "mask") else []

    def with_files_kept(self, beside: Path | None) -> Axis:
        """The axis with its files, ``*`` in their names, replaced by references to the store.

        Raises:
            ValueError: a file is missing or no picture.
        """
        folder = beside or settings().inputs
        kept = [keep(name, beside=beside) for file in self.files for name in _found(file, folder)]
        return self.model_copy(update={"values": kept}) if kept else self


def _found(file: str, folder: Path) -> list[str]:
    """The files of a pattern, below ``folder``; a name that is none, or that finds nothing, as it is."""
    if "*" not in file or Path(file).is_absolute():
        return [file]
    return sorted(str(path.relative_to(folder)) for path in folder.glob(file)) or [file]


def as_axes(sweep: Any) -> Any:
    """A sweep as a person may write it, as a list of axes: ``{cfg_scale: [5, 7], seed: 1..8}``, and for search and
    replace ``{prompt: {search: sunset, values: [dawn, noon]}}``. Anything else comes back as it is.
    """
    if not isinstance(sweep, dict):
        return sweep
    return [{"name": name} | (about if isinstance(about, dict) else {"values": about}) for name, about in sweep.items()]


def cells(job: dict[str, Any]) -> list[dict[str, Any]]:
    """A job as one job for each cell of its sweep, z by z and row by row; as it is where it has none. A cell says in
    ``cell`` where it is: the value of each axis.

    Raises:
        ValueError: too many axes or cells, a value twice, a range that has none, a field that is not there.
    """
    job, axes = deepcopy(job), job.get("sweep") or []
    job.pop("sweep", None)
    if not axes:
        return [job]
    if len(axes) > MOST_AXES:
        raise ValueError(f"a sweep of {len(axes)} axes: at most {MOST_AXES}")
    labels = [axis["name"] + (f" “{axis['search']}”" if axis.get("search") else "") for axis in axes]
    if len(set(labels)) < len(labels):
        raise ValueError("two axes of the sweep change the same")
    values = [_values(axis) for axis in axes]
    if (count := prod(map(len, values))) > MOST_CELLS:
        raise ValueError(f"a sweep of {' × '.join(str(len(each)) for each in values)} = {count}: at most {MOST_CELLS}")
    found = []
    for reverse in product(*reversed(values)):
        cell, chosen = deepcopy(job), list(reversed(reverse))
        for axis, value in zip(axes, chosen, strict=True):
            _change(cell, axis, value)
        found.append(cell | {"cell": dict(zip(labels, chosen, strict=True))})
    return found


def _values(axis: dict[str, Any]) -> list[str]:
    given = axis["values"] if isinstance(axis["values"], list) else [axis["values"]]
    values = [value for one in given for value in _expanded(str(one))]
    if not values:
        raise ValueError(f"the axis {axis['name']} has no values")
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"the axis {axis['name']} has {', '.join(twice)} twice")
    return values


def _expanded(value: str) -> list[str]:
    """``1..4`` and ``0.2..0.8..0.2`` (the step last; 1 where there is none) as their values; both ends are in it."""
    if not (found := RANGE.fullmatch(value.strip())):
        return [value]
    first, last, step = (Decimal(part or "1") for part in found.groups())
    if step == 0 or last < first:
        raise ValueError(f"the range {value} has no values: write it upwards, with a step above 0")
    if (count := int((last - first) / step) + 1) > MOST_CELLS:
        raise ValueError(f"the range {value} has {count} values: at most {MOST_CELLS}")
    return [str(first + number * step) for number in range(count)]


def _change(job: dict[str, Any], axis: dict[str, Any], value: str) -> None:
    *groups, name = _path(job, axis["name"])
    within: Any = job
    for group in groups:
        try:
            within = within[int(group) if isinstance(within, list) else group]
        except (LookupError, ValueError):
            raise ValueError(f"the sweep changes {axis['name']}, but the job has no {group}") from None
    if search := axis.get("search"):
        if search not in (text := str(within.get(name, ""))):
            raise ValueError(f"the sweep replaces {search!r}, which does not stand in {axis['name']}: {text[:80]!r}")
        within[name] = text.replace(search, value)
    else:
        within[name] = [value] if name in ("init_images", "vae") else value


def _path(job: dict[str, Any], name: str) -> list[str]:
    """The way to a field: ``img2img.denoising_strength``; without a stage it is of the job or of its first stage."""
    if "." in name or name in OF_THE_JOB:
        return name.split(".")
    return ["txt2img" if "txt2img" in job else "img2img", name]
