"""Compare what the embedded WebUI did with what a real Forge was recorded doing, field by field."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ABSENT = "<absent>"


@dataclass(frozen=True)
class Difference:
    """One field that is not as recorded. `field` is a dotted path into the recording's JSON."""

    recording: str
    field: str
    recorded: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.recording} {self.field}: recorded {self.recorded!r:.400}, ours {self.ours!r:.400}"


# Fields whose values no two runs of the real one share; of these only the type is compared.
UNREPEATABLE = {
    "*.subseed": "drawn at random",
    "*.all_subseeds.*": "drawn at random",
    "*.job_timestamp": "the time of the run",
    "body.ram.*": "the machine's memory",
    "*.t": "seconds since the start",
}


def differences(recording: str, recorded: Any, ours: Any) -> list[Difference]:
    """Every field of `recorded` or `ours` that the other has not, or has otherwise."""
    return list(_walk(recording, "", _opened(recorded), _opened(ours)))


def _opened(value: Any) -> Any:
    """`value` with the JSON that the API hides in strings (`info`) opened up."""
    if isinstance(value, dict):
        return {key: _opened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened(item) for item in value]
    if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
        try:
            return _opened(json.loads(value))
        except ValueError:
            return value
    return value


def _walk(recording: str, field: str, recorded: Any, ours: Any) -> Iterator[Difference]:
    if isinstance(recorded, dict) and isinstance(ours, dict):
        for key in [*recorded, *(key for key in ours if key not in recorded)]:
            below = f"{field}.{key}".lstrip(".")
            yield from _walk(recording, below, recorded.get(key, ABSENT), ours.get(key, ABSENT))
    elif isinstance(recorded, list) and isinstance(ours, list) and len(recorded) == len(ours):
        for number, (then, now) in enumerate(zip(recorded, ours, strict=True)):
            yield from _walk(recording, f"{field}.{number}".lstrip("."), then, now)
    elif not _same(field, recorded, ours):
        yield Difference(recording, field, recorded, ours)


def _same(field: str, recorded: Any, ours: Any) -> bool:
    if any(fnmatch.fnmatchcase(f".{field}", f"*{pattern.removeprefix('*')}") for pattern in UNREPEATABLE):
        return type(recorded) is type(ours)
    return type(recorded) is type(ours) and recorded == ours
