"""The results as tables: for the terminal, docs/bench.md and, three of them, the README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.goals import GOALS, Figure
from bench.rig import PROJECT

README = PROJECT / "README.md"
BENCH_PAGE = PROJECT / "docs" / "bench.md"
HEADLINES = ("gpu_idle_lookahead", "gpu_idle_limit1", "first_step")
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
HEADER = ("figure", "Darkroom", "against", "goal", "met", "n")
Row = tuple[str, str, str, str, str, str]


def rows(found: dict[str, Figure]) -> list[Row]:
    """One row for each of the issue's figures, in its order; what was not measured says so."""
    return [_row(key, found.get(key)) for key in GOALS]


def _row(key: str, one: Figure | None) -> Row:
    goal = GOALS[key]
    title = f"{goal.title} (`{key}`)"
    if one is None:
        return title, "not measured", "", goal.text, "", ""
    against = "; ".join(f"{peer}: {said(number, one['unit'])}" for peer, number in one["against"].items())
    own = said(one["value"], one["unit"])
    if "p95" in one:
        own += f" (p95 {said(one['p95'], one['unit'])})"
    if "ratio" in one:
        own += f", {one['ratio']:.3f} ×"
    older = f", from {one['from']}" if "from" in one else ""
    return title, own, against or "–", goal.text, "yes" if goal.met(one) else "**no**", f"{one['n']}{older}"


def said(number: float, unit: str) -> str:
    """A number as a person reads it: ``3 ms``, ``1.92 s``, ``7 loads``."""
    if unit == "s":
        return f"{1000 * number:.1f} ms" if number < 0.1 else f"{number:.2f} s"
    return f"{number:g} {unit}"


def show(found: dict[str, Figure], console: Console) -> None:
    """The table in the terminal."""
    table = Table(*HEADER)
    for row in rows(found):
        style = "red" if "no" in row[4] else ""
        table.add_row(*(cell.replace("`", "").replace("*", "") for cell in row), style=style)
    console.print(table)
    for line in where(found):
        console.print(line, highlight=False)


def where(found: dict[str, Figure]) -> list[str]:
    """On what machines, when and how the figures were taken: a line for each."""
    lines: dict[str, None] = {}
    for one in found.values():
        taken, on = one["taken"], one["taken"]["machine"]
        lines[
            f"{taken['date']}, {taken['command']}: {on['cores']} cores ({on['cpu']}), {on['system']}, "
            f"Python {on['python']}, Prefect {on['prefect']}"
        ] = None
    return list(lines)


def markdown(found: dict[str, Figure]) -> str:
    """All figures: what stands in docs/bench.md."""
    lines = _table(HEADER, rows(found))
    lines += ["", *(f"Taken {line}.\n" for line in where(found))]
    return "\n".join(lines).strip()


def headlines(found: dict[str, Figure]) -> str:
    """The three figures that stand in the README."""
    cells = [[cell.partition(" (`")[0] for cell in _row(key, found.get(key))] for key in HEADLINES]
    return "\n".join(_table(HEADER[:3], [row[:3] for row in cells]))


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *body)]


def write_documents(found: dict[str, Figure]) -> None:
    """Put the figures into the README and docs/bench.md, each between its markers.

    Raises:
        ValueError: one of them lacks the markers.
    """
    for document, text in documents(found).items():
        document.write_text(text)


def documents(found: dict[str, Figure]) -> dict[Path, str]:
    """The documents with these figures in them.

    Raises:
        ValueError: one of them lacks the markers.
    """
    shown = {README: headlines(found), BENCH_PAGE: markdown(found)}
    return {document: between_markers(document.read_text(), tables) for document, tables in shown.items()}


def between_markers(text: str, tables: str) -> str:
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the lines {BEGIN} and {END} are missing, between which the figures stand")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"
