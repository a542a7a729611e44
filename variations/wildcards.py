"""Dynamic prompts: ``__animal__``, ``{dawn|dusk}``, ``{2$$a|b|c}``, drawn once for each picture from its seed.

The one module that knows the library for it, dynamicprompts, which the WebUI's extension of that name uses: one syntax,
and the same folder of wildcard files.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from dynamicprompts.enums import SamplingMethod
from dynamicprompts.parser.parse import parse
from dynamicprompts.sampling_context import SamplingContext
from dynamicprompts.wildcards import WildcardManager

PROMPTS = ("prompt", "negative_prompt", "ad_prompt", "ad_negative_prompt")
WILDCARD = re.compile(r"__([\w*/-][\w*/ .-]*?)__")
VARIANT = re.compile(r"\{[^{}]*(\||\$\$)")
NO_STAGES = ("sweep", "cell", "templates")  # fields of a job that hold mappings too
PARSE = lru_cache(256)(parse)  # a template is drawn for many pictures
LONGEST = 10_000  # characters of a template: the library takes 15 ms for each pair of braces


class NotDrawn(ValueError):
    """A template that can't be drawn; the message says why."""


class Wildcards:
    """The wildcard files of a folder: ``animals/cat.txt``, one value a line, is ``__animals/cat__``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = WildcardManager(folder if folder.is_dir() else None)
        logging.getLogger("dynamicprompts").setLevel(logging.ERROR)  # what it warns of is told by draw, in a line

    def draw(self, template: str, seed: int) -> str:
        """The template's prompt for a seed: always the same while the files are. Another template is drawn apart.

        Raises:
            NotDrawn: braces that don't match, an unknown variable, files that name each other without end.
        """
        if len(template) > LONGEST:
            raise NotDrawn(f"a template of {len(template)} characters: at most {LONGEST}")
        context = SamplingContext(SamplingMethod.RANDOM, self._files, rand=Random(f"{seed} {template}"))
        try:
            return str(next(iter(context.sample_prompts(PARSE(template), 1)), ""))
        except RecursionError:
            raise NotDrawn(f"{template[:80]!r} nests too deep, or its wildcard files name each other") from None
        except Exception as error:  # what the library raises is undocumented: parse errors, KeyError, StopIteration
            raise NotDrawn(f"{template[:80]!r} is no template: {str(error)[:200]}") from None

    def is_template(self, text: str) -> bool:
        """Whether braces with a choice stand in it, or a wildcard of which there is a file."""
        return bool(VARIANT.search(text)) or any(self.has(name) for name in WILDCARD.findall(text))

    def has(self, name: str) -> bool:
        return bool(self._files.get_values(name))

    def missing(self, text: str) -> list[str]:
        """For each wildcard without a file what to say of it."""
        said = []
        for name in (name for name in dict.fromkeys(WILDCARD.findall(text)) if not self.has(name)):
            near = difflib.get_close_matches(name, self._files.get_collection_names(), 1)
            said.append(
                f"__{name}__ has no file in {self.folder}" + (f" (did you mean __{near[0]}__?)" if near else "")
            )
        return said


def may_draw(job: dict[str, Any]) -> bool:
    """Whether a prompt looks as if there were something to draw; :func:`draw` finds out."""
    return job.get("wildcards") is not False and any("{" in text or "__" in text for text in _prompts(job))


def draw(job: dict[str, Any], wildcards: Wildcards) -> tuple[list[dict[str, Any]], list[str]]:
    """The job as one job for each of its pictures, each with its own prompts drawn and its own seed, and what a person
    should be told. A job in which nothing is to be drawn comes back as it is.

    ``job["wildcards"]``: True draws, and takes no unknown wildcard; False draws nothing; None (the default) draws
    where a template stands in a prompt, and leaves what it can't draw as it was typed.

    Raises:
        NotDrawn: a template can't be drawn, or a wildcard has no file, where ``wildcards`` is True.
    """
    switch = job.get("wildcards")
    if switch is False:
        return [job], []
    templates = _prompts(job)
    try:
        told = [one for text in templates for one in wildcards.missing(text)]
        if told and switch:
            raise NotDrawn("; ".join(told))
        told = [f"{one}: it goes to the WebUI as typed" for one in told]
        if not any(map(wildcards.is_template, templates)):
            return [job], told
        pictures = int(job.get("images", 1)) * (len(job.get("init_images", [])) or 1)
        return [_picture(job, number, wildcards) for number in range(pictures)], told
    except NotDrawn as error:
        if switch:
            raise
        return [job], [f"{error}; it goes to the WebUI as typed"]


def _picture(job: dict[str, Any], number: int, wildcards: Wildcards) -> dict[str, Any]:
    """The job of its ``number``-th picture alone (from 0)."""
    one, templates = deepcopy(job) | {"images": 1}, {}
    if job.get("init_images"):
        one["init_images"] = [job["init_images"][number // job.get("images", 1)]]
    for form in _forms(one):
        if form.get("seed") is not None:
            form["seed"] += number
    seed = next((form["seed"] for form in _forms(one) if form.get("seed") is not None), number)
    for form in _forms(one):
        for name in PROMPTS:
            if (template := form.get(name)) and wildcards.is_template(template):
                form[name] = wildcards.draw(template, seed)
                templates[form[name]] = template
    return one | {"templates": templates}


def _prompts(job: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(form[name] for form in _forms(job) for name in PROMPTS if form.get(name)))


def _forms(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The stages' forms, in the order of the stages."""
    for value in (value for name, value in job.items() if name not in NO_STAGES):
        yield from (form for form in (value if isinstance(value, list) else [value]) if isinstance(form, dict))
