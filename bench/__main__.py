"""``python -m bench``: the subset, within five minutes; ``--full``: every figure; ``--readme``: only the documents."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime
from types import FrameType

from rich.console import Console

from bench import (
    batches,
    firststep,
    frontdoor,
    gallery,
    history,
    idle,
    loads,
    memory,
    polling,
    progress,
    results,
    tables,
)
from bench.goals import Figure
from bench.rig import Rig

Group = Callable[[Rig], dict[str, Figure]]

SUBSET: dict[str, Group] = {
    "idle": lambda rig: idle.measure(rig, runs=4, stock_runs=1),
    "firststep": lambda rig: firststep.measure(rig, runs=4, stock_runs=2),
    "batches": lambda rig: batches.measure(rig, pictures={"batch_1s": 15, "batch_200ms": 30}),
    "loads": lambda rig: loads.measure(rig, jobs=12),
    "progress": lambda rig: progress.measure(rig, images=2),
    "polling": lambda rig: polling.measure(rig, repeats=4),
}
FULL: dict[str, Group] = {
    "idle": lambda rig: idle.measure(rig, runs=30, stock_runs=8),
    "firststep": lambda rig: firststep.measure(rig, runs=15, stock_runs=8),
    "batches": lambda rig: batches.measure(rig, pictures={"batch_1s": 100, "batch_200ms": 100}),
    "loads": lambda rig: loads.measure(rig, jobs=60),
    "progress": lambda rig: progress.measure(rig, images=12),
    "polling": lambda rig: polling.measure(rig, repeats=15),
    "history": lambda rig: history.measure(rig, queued=12, single=8),
    "memory": lambda rig: memory.measure(rig, runs=1000),
    "gallery": gallery.measure,
    "frontdoor": lambda rig: frontdoor.measure(rig, requests_each=15, runs=8),
}
FRESH = {"history", "memory"}  # they need a database without anybody else's runs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every figure, up to 40 minutes")
    parser.add_argument("--only", nargs="+", choices=FULL, metavar="GROUP", help=f"some of: {', '.join(FULL)}")
    parser.add_argument(
        "--readme", action="store_true", help="only write bench/results.json into README.md and docs/bench.md"
    )
    given = parser.parse_args()
    console = Console()
    if given.readme:
        tables.write_documents(results.load())
        return 0

    signal.signal(signal.SIGTERM, _interrupted)
    groups = FULL if given.full else SUBSET
    chosen = {name: group for name, group in groups.items() if not given.only or name in given.only}
    try:
        measured, failed = _measure(chosen, console)
    except KeyboardInterrupt:
        console.print("stopped; nothing was written")
        return 130
    command = " ".join(["python -m bench", *sys.argv[1:]])
    found = results.merged(results.load(), measured, command=command, now=datetime.now().astimezone())
    results.save(found)
    tables.show(found, console)
    return 1 if failed else 0


def _measure(groups: dict[str, Group], console: Console) -> tuple[dict[str, Figure], list[str]]:
    """The groups one after the other on one test stand; those of ``FRESH`` each on a new one. One that fails stops
    nobody. Returns the figures, and the names of the groups that failed.
    """
    measured: dict[str, Figure] = {}
    failed = []

    def take(name: str, rig: Rig) -> None:
        began = time.monotonic()
        console.print(f"{name} …", highlight=False)
        try:
            measured.update(groups[name](rig))
        except Exception as error:
            failed.append(name)
            console.print(f"  not measured: {error}", style="red", highlight=False, markup=False)
        else:
            console.print(f"  {time.monotonic() - began:.0f} s", highlight=False)

    if shared := [name for name in groups if name not in FRESH]:
        with Rig() as rig:
            for name in shared:
                take(name, rig)
    for name in groups:
        if name in FRESH:
            with Rig() as rig:
                take(name, rig)
    return measured, failed


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
