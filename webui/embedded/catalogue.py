"""The read-only lists, and how names are looked up in them (data.json, as recorded)."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA: dict[str, Any] = json.loads(Path(__file__).with_name("data.json").read_text())


@dataclass(frozen=True)
class Sampler:
    name: str
    aliases: list[str]
    options: dict[str, Any]


@dataclass(frozen=True)
class Scheduler:
    name: str
    label: str
    aliases: list[str] | None
    default_rho: float
    need_inner_model: bool


@dataclass(frozen=True)
class Upscaler:
    name: str
    model_name: str | None
    model_path: str | None
    scale: float
    model_url: str | None = None


@dataclass(frozen=True)
class Style:
    name: str
    prompt: str | None  # None where the file's row ends before it
    negative_prompt: str | None


SAMPLERS = {entry[0]: Sampler(*entry) for entry in DATA["samplers"]}
SCHEDULERS = [Scheduler(*entry) for entry in DATA["schedulers"]]
_SCHEDULER_NAMES = {s.name: s for s in SCHEDULERS} | {s.label: s for s in SCHEDULERS}
AUTOMATIC = SCHEDULERS[0]
UPSCALERS = {entry[0]: Upscaler(*entry) for entry in DATA["upscalers"]}
LATENT_UPSCALE_MODES: list[str] = DATA["latent_upscale_modes"]


def find_scheduler(name: str | None) -> Scheduler:
    """By name or label; the automatic one for any other text."""
    return _SCHEDULER_NAMES.get(name or "", AUTOMATIC)


def find_sampler(name: str, scheduler: str | None) -> tuple[Sampler, Scheduler]:
    """What a request's names come down to.

    A scheduler at the end of the sampler's name is taken apart ("DPM++ 2M Karras"); a name that is then not
    a sampler's own becomes the first sampler, aliases and other cases included; a scheduler that is the
    sampler's default anyway becomes Automatic.
    """
    found = find_scheduler(scheduler)
    for candidate in SCHEDULERS:
        for ending in (candidate.label, candidate.name, *(candidate.aliases or [])):
            if name.endswith(f" {ending}"):
                found, name = candidate, name[: -len(ending) - 1]
                break
    sampler = SAMPLERS.get(name) or next(iter(SAMPLERS.values()))
    if sampler.options.get("scheduler") == found.name:
        found = AUTOMATIC
    return sampler, found


def used_scheduler(sampler: Sampler, scheduler: str | None) -> Scheduler:
    """The scheduler that a job really uses: Automatic gives way to the sampler's own default."""
    found = find_scheduler(scheduler)
    return find_scheduler(sampler.options.get("scheduler")) if found is AUTOMATIC else found


class Styles:
    """Prompt styles of a `styles.csv` (columns name, prompt, negative_prompt)."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def all(self) -> list[Style]:
        if not self._file.exists():
            return []
        with self._file.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            return [Style(r["name"], r["prompt"], r["negative_prompt"]) for r in rows]

    def apply(self, names: list[str], prompt: str, negative_prompt: str) -> tuple[str, str]:
        """Names that no style has change nothing."""
        known = {style.name: style for style in self.all()} if names else {}
        for style in (known[name] for name in names if name in known):
            prompt = _merge(style.prompt, prompt)
            negative_prompt = _merge(style.negative_prompt, negative_prompt)
        return prompt, negative_prompt


def _merge(style: str | None, prompt: str) -> str:
    if not style:
        return prompt
    if "{prompt}" in style:
        return style.replace("{prompt}", prompt)
    return ", ".join(part for part in (prompt.strip(), style.strip()) if part)


def write_default_styles(file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("name", "prompt", "negative_prompt"), *DATA["styles"]])
