"""What differs from a real Forge on purpose: the one list, each entry with its reason.

A test fails when a recording differs in a field that no entry names, and another when an entry no longer
matches any difference. docs/embedded-webui.md prints the table.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from comparing import Difference


@dataclass(frozen=True)
class Differs:
    """`recordings` and `field` are patterns (`*` for any text)."""

    recordings: str
    field: str
    reason: str

    def covers(self, difference: Difference) -> bool:
        return fnmatch.fnmatchcase(difference.recording, self.recordings) and fnmatch.fnmatchcase(
            difference.field, self.field
        )


ON_PURPOSE: tuple[Differs, ...] = ()


def as_markdown() -> str:
    """The table of docs/embedded-webui.md."""
    rows = ["| recording | field | why |", "|---|---|---|"]
    rows += [f"| `{entry.recordings}` | `{entry.field}` | {entry.reason} |" for entry in ON_PURPOSE]
    return "\n".join(rows) + "\n"
