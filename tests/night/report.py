"""docs/night.md from tests/night/results.json, which the matrix and the soak write: `python -m tests.night.report`."""

from __future__ import annotations

import json
from typing import Any

from store.files import write_whole
from tests.night.rig import STAGES
from tests.rest import PROJECT

RESULTS = PROJECT / "tests" / "night" / "results.json"
PAGE = PROJECT / "docs" / "night.md"

HEAD = """# What a night survives

Both tables are written by the tests from what they measured (`tests/night`), never by hand.

## Each fault at each stage

`make matrix` strikes a run of two pictures a stage while the second one is painted, by real signals to real
processes and by [the embedded WebUI's faults](faults.md). A cell says how the run ended, how many pictures were
painted twice (the one on the GPU may be; how often the WebUI was asked tells), and the seconds from the end of
the cause, or from the click on Retry, to the next picture (none where the picture under way was the last one that
was needed). A request goes out before the last answer is put away: a process that dies in those hundredths of a
second repeats that picture as well, so the faults strike after them. Nothing may be lost, and the run behind it has
to complete by itself. **✗** marks what does not hold yet.

"""

SOAK = """
## A night in short

`make soak` queues jobs of all kinds, lets a fault drawn from a seed befall one in five, retries once what failed,
and accounts for every picture, process, lease and byte.

"""


def add_matrix(rows: dict[str, dict[str, Any]]) -> None:
    """Put rows (by fault and stage) in the place of those before them, and write the page."""
    results = read()
    for fault, stages in rows.items():
        results["matrix"].setdefault(fault, {}).update(stages)
    _write(results)


def add_soak(result: dict[str, Any]) -> None:
    results = read()
    results["soak"] = result
    _write(results)


def read() -> dict[str, Any]:
    return dict(json.loads(RESULTS.read_text())) if RESULTS.exists() else {"matrix": {}, "soak": {}}


def page(results: dict[str, Any]) -> str:
    """The whole of docs/night.md."""
    lines = [f"| fault | {' | '.join(STAGES)} |", "|---" * (len(STAGES) + 1) + "|"]
    for fault, stages in results["matrix"].items():
        lines.append(f"| {fault} | " + " | ".join(_cell(stages.get(stage)) for stage in STAGES) + " |")
    text = HEAD + "\n".join(lines) + "\n"
    if results["soak"]:
        text += SOAK + soak_table(results["soak"])
    return text


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    told = [row["ended"]]
    if "seconds" in row:
        told.append(f"{row['painted twice']} twice")
    if row.get("seconds") is not None:
        told.append(f"{row['seconds']:g} s")
    if row.get("lost"):
        told.append(f"{row['lost']} lost")
    return ("" if row.get("holds") else "**✗** ") + ", ".join(told)


def soak_table(result: dict[str, Any]) -> str:
    lines = ["| what | seen |", "|---|---|"]
    lines += [f"| {name} | {_value(value)} |" for name, value in result.items() if name != "what does not hold"]
    lines += [f"| **✗** | {problem} |" for problem in result["what does not hold"][:50]]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_value(inner)}" for name, inner in value.items())
    return str(value)


def _write(results: dict[str, Any]) -> None:
    write_whole(RESULTS, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    write_whole(PAGE, page(results).encode())


if __name__ == "__main__":
    write_whole(PAGE, page(read()).encode())
