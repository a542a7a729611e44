"""The results as tables: for the terminal, and for the README between two markers."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.goals import GOALS, Figure
from bench.rig import PROJECT

README = PROJECT / "README.md"
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
    """What stands in the README."""
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(row) + " |" for row in rows(found)]
    lines += ["", *(f"Taken {line}.\n" for line in where(found))]
    return "\n".join(lines).strip()


def write_readme(found: dict[str, Figure], readme: Path = README) -> None:
    """Put the tables between the markers.

    Raises:
        ValueError: the README lacks the markers.
    """
    text = readme.read_text()
    readme.write_text(with_tables(text, found))


def with_tables(text: str, found: dict[str, Figure]) -> str:
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README needs the lines {BEGIN} and {END}, between which the tables stand")
    return f"{before}{BEGIN}\n{markdown(found)}\n{END}{after}"
