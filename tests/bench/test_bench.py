"""The bench's own arithmetic, its tables, and one figure taken for real."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from bench import history, loads, progress, results, tables
from bench.batches import KEYS
from bench.goals import GOALS, LOOP, STOCK, STOCK_FAST
from bench.job_log import JobLog, Turn, gaps, gaps_between_runs, p95
from bench.peers import BareLoop, picture
from bench.results import figure
from bench.rig import Rig

KEYS_OF_THE_ISSUE = [
    "gpu_idle_lookahead",
    "gpu_idle_limit1",
    "batch_1s",
    "batch_200ms",
    "checkpoint_loads",
    "first_step",
    "progress_age",
    "polling_cost",
    "history_10k",
    "memory_1000",
    "gallery_50k",
    "front_door",
]


def turn(run: str, start: float, end: float) -> Turn:
    return Turn(f"task(darkroom-{run}-txt2img-1-abcdef)", "txt2img", start, end, "photo", False)


def test_every_figure_of_the_issue_has_its_goal() -> None:
    assert list(GOALS) == KEYS_OF_THE_ISSUE
    assert set(KEYS) < set(GOALS)


def test_idle_is_counted_between_runs_not_within_one() -> None:
    turns = [turn("aaaaaaaa", 0, 1), turn("aaaaaaaa", 1.5, 2), turn("bbbbbbbb", 2.25, 3), turn("cccccccc", 2.9, 4)]
    assert gaps_between_runs(turns) == [0.25, 0.0]
    assert gaps(turns) == [0.5, 0.25, 0.0]


def test_the_log_is_waited_for_until_each_run_was_there_or_none_comes_any_more(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "jobs.jsonl")
    looks: list[int] = []

    def check() -> None:
        """Called at each look, before it: another run has been on the GPU."""
        looks.append(len(looks))
        with log.path.open("a") as file:
            file.write(json.dumps(asdict(turn("abc"[len(looks) - 1] * 8, 0, 1))) + "\n")
        if len(looks) == 3:
            raise StopIteration

    log.wait(["aaaaaaaa", "bbbbbbbb"], 60, check)
    assert len(looks) == 2
    log.wait(["nobody"], 0.01, lambda: None)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert p95([3.0, 1.0, 2.0]) == 3.0
    assert p95([float(number) for number in range(1, 101)]) == 95.0


def test_jobs_that_keep_arriving_pass_nobody_over_for_longer_than_the_bound() -> None:
    longest = loads.longest_passed_over(jobs=300)
    assert 60 < longest <= loads.PATIENCE.total_seconds()  # somebody is passed over, or nothing was tried


def test_progress_is_as_old_as_the_time_when_it_was_true() -> None:
    truth = [(0.0, 0.0), (1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]
    seen = [(0.5, 0.0), (2.5, 10.0), (3.0, 30.0), (9.0, 30.0)]
    assert progress.ages(seen, truth, begin=0.0, end=4.0) == [0.5, 1.5, 0.0]


def test_a_goal_that_is_missed_is_said_to_be_missed() -> None:
    idle = figure(0.5, {STOCK: 8.5, STOCK_FAST: 1.4, LOOP: 0.004}, "s", 10, p95=0.7)
    assert not GOALS["gpu_idle_limit1"].met(idle)  # less than 0.6 s, but not three times less than stock
    assert not GOALS["gpu_idle_lookahead"].met(idle)
    assert GOALS["gpu_idle_limit1"].met(idle | {"value": 0.4})
    with_taken = results.merged({}, {"gpu_idle_limit1": idle}, command="test", now=datetime.now(UTC))
    rows = {row[0].rpartition("`")[0].rpartition("`")[2]: row for row in tables.rows(with_taken)}
    assert rows["gpu_idle_limit1"][4] == "**no**"
    assert rows["batch_1s"][1] == "not measured"


def test_what_was_not_measured_now_keeps_its_date() -> None:
    first = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    one, two = figure(1.0, {}, "s", 1, p95=1.0), figure(2.0, {}, "s", 1, p95=2.0)
    last = results.merged({}, {"progress_age": one, "first_step": one}, command="full", now=first)
    now = results.merged(last, {"progress_age": two}, command="subset", now=first + timedelta(days=1))
    assert now["progress_age"]["value"] == 2.0
    assert "from" not in now["progress_age"]
    assert now["first_step"]["from"] == "2026-11-01 12:00"
    again = results.merged(now, {"first_step": two}, command="full", now=first + timedelta(days=2))
    assert "from" not in again["first_step"]
    assert set(now) <= set(GOALS)


def test_the_documents_show_the_figures_of_the_last_run() -> None:
    for document, text in tables.documents(results.load()).items():
        assert document.read_text() == text, f"{document.name}: run python -m bench --readme"


def test_the_readme_shows_three_figures_without_their_keys() -> None:
    *_, first, second, third = tables.headlines(results.load()).splitlines()
    assert [line.count("|") for line in (first, second, third)] == [4, 4, 4]
    assert "stock worker" in first
    assert "`" not in first + second + third


def test_results_have_the_shape_that_the_issue_asks_for() -> None:
    found = json.loads(results.FILE.read_text())
    assert set(found) <= set(KEYS_OF_THE_ISSUE)
    for one in found.values():
        assert {"value", "against", "unit", "n", "taken"} <= set(one)
        assert isinstance(one["value"], int | float)
        assert all(isinstance(number, int | float) for number in one["against"].values())
    tables.show(found, Console(quiet=True))


def test_tables_go_between_the_markers_and_nowhere_else() -> None:
    text = f"above\n{tables.BEGIN}\nold\n{tables.END}\nbelow\n"
    new = tables.between_markers(text, "the table")
    assert new.startswith("above\n")
    assert new.endswith("\nbelow\n")
    assert "old" not in new
    assert "\nthe table\n" in new
    assert tables.between_markers(new, "the table") == new
    with pytest.raises(ValueError, match="bench:begin"):
        tables.between_markers("no markers", "")


def test_the_history_is_copies_of_a_run_under_ids_of_their_own(tmp_path: Path) -> None:
    run, state, flow = (f"{digit * 8}-0000-4000-8000-{digit * 12}" for digit in "abf")
    began = "2026-11-21 04:40:23.654839"
    path = tmp_path / "prefect.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE flow_run (id, flow_id, state_id, start_time)")
        connection.execute("CREATE TABLE flow_run_state (id, flow_run_id, state_details)")
        for table in ("task_run", "task_run_state", "artifact", "log"):
            connection.execute(f"CREATE TABLE {table} (id, flow_run_id, task_run_id)")
        connection.execute("CREATE TABLE events (id, resource, related)")
        connection.execute("CREATE TABLE event_resources (id, event_id)")
        connection.execute("INSERT INTO flow_run VALUES (?, ?, ?, ?)", (run, flow, state, began))
        details = json.dumps({"flow_run_id": run})
        connection.execute("INSERT INTO flow_run_state VALUES (?, ?, ?)", (state, run, details))
        event = "e" * 8 + "-0000-4000-8000-" + "e" * 12
        resource = json.dumps({"id": f"prefect.flow-run.{run}"})
        connection.execute("INSERT INTO events VALUES (?, ?, '[]')", (event, resource))
    connection.close()
    copies = 7 * 24 * 6 + 10  # a run every ten minutes; events of the last seven days
    history.fill(path, run, copies)
    with sqlite3.connect(path) as connection:
        rows: list[Any] = connection.execute(
            "SELECT flow_run.id, flow_id, start_time, state_details FROM flow_run "
            "JOIN flow_run_state ON flow_run_state.id = state_id AND flow_run_id = flow_run.id ORDER BY start_time DESC"
        ).fetchall()
        events = connection.execute("SELECT resource FROM events").fetchall()
    connection.close()
    assert len({row[0] for row in rows}) == copies + 1
    assert {row[1] for row in rows} == {flow}
    assert [row[2] for row in rows[:2]] == [began, "2026-11-21 04:30:23.654839"]
    assert all(json.loads(row[3])["flow_run_id"] == row[0] for row in rows)
    assert len(events) == 1 + 7 * 24 * 6
    known = {row[0] for row in rows}
    assert all(json.loads(event[0])["id"].removeprefix("prefect.flow-run.") in known for event in events)


class NoPrefect(Rig):
    """A test stand for what needs only a WebUI."""

    def start_server(self) -> None:
        pass


def test_the_test_stand_measures_by_the_servers_clock_and_leaves_nothing() -> None:
    before = set(psutil.Process().children(recursive=True))
    with NoPrefect() as rig, rig.webui(step_time=0.02, checkpoints=("ink", "oil")) as webui:
        loop = BareLoop(webui.url, rig.pictures)
        for checkpoint in ("ink", "oil", "oil"):
            loop.paint(picture(5, checkpoint=f"{checkpoint}.safetensors"))
        turns = JobLog(webui.log.path).turns()
        assert [one.loaded for one in turns] == [True, True, False]
        assert all(one.seconds >= 0.1 for one in turns)
        assert len(gaps_between_runs(turns)) == 2
        assert len(list(rig.pictures.iterdir())) == 3
    assert not rig.folder.exists()
    assert set(psutil.Process().children(recursive=True)) <= before
