"""YAML from anybody, read only where it is no larger than a file of jobs can be. Its errors repeat none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

LARGEST = 16 * 1024 * 1024  # characters of a file, and of what it says with each alias written out
NODE = 16  # characters that a node counts at least, for what it takes in memory
DEEPEST = 50  # nodes within each other
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, where it was built


def read_text(path: Path) -> str:
    """
    Raises:
        ValueError: it cannot be read, is larger than ``LARGEST``, or no UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or 'no text in UTF-8'}") from None
    if len(text) > LARGEST:
        raise ValueError(f"{path}: larger than {LARGEST:,} characters")
    return text


def parse_yaml(text: str) -> Any:
    """What a YAML text says; looked through before anything is built from it.

    Raises:
        ValueError: it is no YAML, or larger (its aliases written out) or deeper than a file of jobs can be.
    """
    try:
        _check_size(text)
        return yaml.load(text, LOADER)
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"no YAML: {error.problem}{where}") from None
    except (yaml.YAMLError, AttributeError, LookupError, TypeError):  # the latter: a tag such as !!bool on other text
        raise ValueError("no YAML: a character or a tag that it does not take") from None


def _check_size(text: str) -> None:
    size, anchors = 0, dict[str | None, int]()  # by anchor, the size of what it stands for
    open_nodes: list[tuple[str | None, int]] = []  # the anchor, and the size before it
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise ValueError(f"no YAML: the alias *{event.anchor} stands for nothing, or for what it is a part of")
            size += anchors[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, size))
            size += NODE
        elif isinstance(event, yaml.ScalarEvent):
            anchors[event.anchor] = max(len(event.value), NODE)
            size += anchors[event.anchor]
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            anchors[anchor] = size - before
        if size > LARGEST or len(open_nodes) > DEEPEST:
            raise ValueError(f"too large: more than {LARGEST:,} characters, or {DEEPEST} levels, aliases written out")
