"""``history_10k``: do the idle figures and the first step hold with 10,000 finished runs in the database?"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from bench import firststep, idle
from bench.goals import EMPTY, Figure
from bench.job_log import median
from bench.jobs import job
from bench.results import figure
from bench.rig import MeasuredWebUI, Rig

APART = timedelta(minutes=10)  # between two runs of the history: 10,000 of them are 69 days
EVENTS_KEPT = timedelta(days=7)  # Prefect's own default (PREFECT_EVENTS_RETENTION_PERIOD)
CLOCK = 0.001  # seconds; a difference below is none: threads take turns no more exactly than that
TABLES = {  # what Prefect stores of a run, and how to find it
    "flow_run": "id = :run",
    "flow_run_state": "flow_run_id = :run",
    "task_run": "flow_run_id = :run",
    "task_run_state": "task_run_id IN (SELECT id FROM task_run WHERE flow_run_id = :run)",
    "artifact": "flow_run_id = :run",
    "log": "flow_run_id = :run",
}
EVENTS = {
    "events": "resource LIKE '%' || :run || '%' OR related LIKE '%' || :run || '%'",
    "event_resources": "event_id IN (SELECT id FROM events WHERE resource LIKE '%' || :run || '%' "
    "OR related LIKE '%' || :run || '%')",
}
TIMESTAMP = re.compile(r"20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{6}")
ID_OR_TIMESTAMP = re.compile(rf"([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|{TIMESTAMP.pattern})")


def measure(rig: Rig, *, queued: int, single: int, stored: int = 10_000) -> dict[str, Figure]:
    """The figure: the worst of the three ratios.

    Args:
        rig: with an empty database.
        queued: runs for each idle figure, on either database; an even number.
        single: runs for the first step; an even number.
        stored: finished runs that are put into the other database.
    """
    parts = {}
    with Rig() as old:
        give_history(old, stored)
        recipes: dict[str, tuple[Callable[..., list[float]], int]] = {
            "gpu_idle_lookahead": (partial(idle.ours, lookahead=True), queued),
            "gpu_idle_limit1": (partial(idle.ours, lookahead=False), queued),
            "first_step": (firststep.ours, single),
        }
        for name, (take, runs) in recipes.items():
            taken: dict[Rig, list[float]] = {rig: [], old: []}
            for one in (rig, old, old, rig):  # by turns: a machine that becomes slower is slower for both
                with one.webui() as webui:
                    webui.warm_up()
                    taken[one] += take(one, webui, runs // 2)
            parts[name] = compared(median(taken[old]), median(taken[rig]))
    n = f"{stored} runs; {queued} gaps and {single} first steps"
    return {"history_10k": figure(max(part["ratio"] for part in parts.values()), {EMPTY: 1.0}, "×", n, parts=parts)}


def compared(full: float, empty: float) -> dict[str, float]:
    return {"full": full, "empty": empty, "ratio": 1.0 if abs(full - empty) < CLOCK else full / empty}


def give_history(rig: Rig, stored: int) -> None:
    """Put so many finished runs into a rig's database."""
    with rig.webui() as webui:
        template = _finished_run(rig, webui)
    rig.stop_server()
    fill(rig.database, template, stored)
    rig.start_server()


def _finished_run(rig: Rig, webui: MeasuredWebUI) -> str:
    """A run of four pictures, the like of which the history is made of."""
    with rig.worker(webui) as worker:
        run = rig.api.trigger(rig.api.deployment_id("generate/generate"), {"job": job(0.5, images=4)})
        rig.api.wait([run], 60, worker.check)
    return run


def fill(database: Path, run: str, copies: int) -> None:
    """Copy everything that Prefect stored of ``run``, so many times, each under ids of its own and ten minutes before
    the last. Events go back seven days, as Prefect keeps them. No server may have the database open.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.row_factory = sqlite3.Row
        lasting = Template({table: _rows(connection, table, where, run) for table, where in TABLES.items()})
        events = Template({table: _rows(connection, table, where, run) for table, where in EVENTS.items()})
        for number in range(1, copies + 1):
            ids: dict[str, str] = {}
            earlier = number * APART
            for template in (lasting, events) if earlier <= EVENTS_KEPT else (lasting,):
                for table, rows in template.copy(earlier, ids).items():
                    _insert(connection, table, rows)


def _rows(connection: sqlite3.Connection, table: str, where: str, run: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(f"SELECT * FROM {table} WHERE {where}", {"run": run})]


class Template:
    """Rows of some tables, to be copied under new ids and moved in time.

    They are kept as text in pieces, every second one an id or a timestamp: ids stand inside of JSON as well.
    What names no row of a run (its deployment, its flow) keeps its id.
    """

    def __init__(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        self._own = {row["id"] for found in rows.values() for row in found}
        self._pieces = ID_OR_TIMESTAMP.split(json.dumps(rows))

    def copy(self, earlier: timedelta, ids: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
        """The rows so much earlier; ``ids`` holds the new id of each old one, and is added to."""
        new = {old: self._new(old, earlier, ids) for old in set(self._pieces[1::2])}
        pieces = [new[piece] if place % 2 else piece for place, piece in enumerate(self._pieces)]
        return dict(json.loads("".join(pieces)))

    def _new(self, old: str, earlier: timedelta, ids: dict[str, str]) -> str:
        if TIMESTAMP.fullmatch(old):
            moved = datetime.fromisoformat(old) - earlier
            return moved.isoformat(sep=old[10], timespec="microseconds")
        if old in self._own or old in ids:
            return ids.setdefault(old, str(uuid.uuid4()))
        return old


def _insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        names, marks = ", ".join(rows[0]), ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", [list(row.values()) for row in rows])
