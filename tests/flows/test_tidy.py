"""Only what is old goes, and nothing of it that a job still needs."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from prefect.states import Completed, Failed, Scheduled

import flows.tidy
from flows.generate import generate
from flows.tidy import every, remove_one, seen, tidy
from pictures.old import FILES, GIVEN, Old, old_files
from store.inputs import place, put
from store.settings import settings as darkroom

NOW = datetime.now(UTC)


def written(path: Path, days: float, content: bytes = b"x") -> Path:
    """A file that was written so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for one in (path, path.parent):
        os.utime(one, ((NOW - timedelta(days=days)).timestamp(),) * 2)
    return path


@pytest.fixture
def results(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(flows.tidy, "RESULTS", home / "results")
    return home / "results"


# -- on a real server ----------------------------------------------------------------------------------------


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as one:
        yield one


def run_of(client: SyncPrefectClient, state: State[Any], days: float, *files: str) -> str:
    """A run with these given files, whose state is so many days old."""
    job = {"checkpoint": "photo", "init_images": [f"store:{name}" for name in files]}
    run = client.create_flow_run(generate, parameters={"job": job}, state=state)
    make_older(run.id, days)
    return str(run.id)


def make_older(run: UUID | str, days: float) -> None:
    """By the database: the API takes no other time than its own."""
    database = (PREFECT_API_DATABASE_CONNECTION_URL.value() or "").partition(":///")[2]
    at = (NOW - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S.%f")
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute("UPDATE flow_run_state SET timestamp = ? WHERE flow_run_id = ?", (at, str(run)))
        connection.execute("UPDATE flow_run SET end_time = ?, state_timestamp = ? WHERE id = ?", (at, at, str(run)))


def there(client: SyncPrefectClient, run: str) -> bool:
    try:
        return bool(client.read_flow_run(UUID(run)))
    except ObjectNotFound:
        return False


def test_the_old_is_listed_then_removed_and_the_rest_stays(
    client: SyncPrefectClient, results: Path, tmp_path: Path
) -> None:
    gallery = written(tmp_path / "gallery" / "castle.png", 400)
    old = run_of(client, Completed(), 100, "a.png")
    failed = run_of(client, Failed(), 40, "b.png")
    lately = run_of(client, Failed(), 10, "c.png")
    waits = run_of(client, Scheduled(), 100, "d.png", "e.jsonl")
    deleted, elsewhere = str(uuid4()), str(uuid4())
    saved = {"job": {"init_images": ["store:f.png"]}}
    client.create_deployment(client.create_flow(generate), "saved", parameters=saved, enforce_parameter_schema=False)
    for run in (old, failed, lately, waits, deleted):
        written(darkroom().runs / run / "txt2img-0001.png", 400)
        written(results / f"{run}-0123", 400)
    written(results / f"{elsewhere}-0123", 400)  # Prefect's folder of results can be shared with another project
    written(results / f"{lately}-files", 400, b'"store:h.png"')  # what a path from the form became
    for name in ("a.png", "b.png", "c.png", "d.png", "f.png", "g.png", "h.png"):
        written(place(name), 400)
    written(place("e.jsonl"), 400, b'{"init_images": ["store:g.png"]}\n')
    written(place("i.png"), 1)

    def left() -> tuple[set[str], set[str], set[str], set[str]]:
        return (
            {path.name for path in darkroom().runs.iterdir()},
            {path.name[:36] for path in results.iterdir()},
            {path.name for path in darkroom().store.rglob("*") if path.is_file()},
            {run for run in (old, failed, lately, waits) if there(client, run)},
        )

    before = left()
    tidy()
    assert left() == before
    [listed] = [f"{one.description} {one.data}" for one in client.read_artifacts() if one.key == "tidy"]
    assert "files of a run: 3, 0.00 MB" in listed
    assert all(name in listed for name in (old, failed, deleted, "a.png", "b.png")) and lately not in listed

    tidy(dry_run=False)
    assert left() == (
        {lately, waits},
        {lately, waits, elsewhere},
        {"c.png", "d.png", "e.jsonl", "f.png", "g.png", "h.png", "i.png"},
        {failed, lately, waits},
    )
    assert gallery.exists()


@pytest.mark.usefixtures("results")
def test_a_runs_artifacts_go_with_its_history(client: SyncPrefectClient) -> None:
    run = run_of(client, Completed(), 40)
    only = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run)]))
    for key in ("contact-sheet", "timings", None):  # None: where the run's result is
        client.create_artifact(ArtifactCreate(key=key, data="![]()", flow_run_id=UUID(run)))
    tidy(dry_run=False)
    assert len({one.id for one in every(client.read_artifacts, flow_run_filter=only)}) == 3
    make_older(run, 100)
    tidy(dry_run=False)
    assert not list(every(client.read_artifacts, flow_run_filter=only))
    assert not there(client, run)


@pytest.mark.usefixtures("results")
def test_what_is_used_again_after_it_was_listed_stays(client: SyncPrefectClient) -> None:
    run = run_of(client, Failed(), 40)
    end, picture = NOW - timedelta(days=50), written(darkroom().runs / run / "txt2img-0001.png", 50)
    remove_one(client, Old(FILES, run, end, run=run, paths=[picture.parent]))
    assert picture.exists()

    written(place("a.png"), 50)
    put("a.png", b"x")
    remove_one(client, Old(GIVEN, "a.png", end, paths=[place("a.png")]))
    assert place("a.png").exists()


def test_what_cannot_be_removed_is_said_and_stops_nothing(client: SyncPrefectClient, results: Path) -> None:
    for run in (runs := [run_of(client, Completed(), 40) for _ in range(2)]):
        written(darkroom().runs / run / "inner" / "file", 40)
    blocked = darkroom().runs / runs[0]
    with pytest.MonkeyPatch.context() as patch:
        remove = flows.tidy.shutil.rmtree
        patch.setattr(flows.tidy.shutil, "rmtree", lambda path: remove(path / "no such" if path == blocked else path))
        with pytest.raises(match="1 of"):
            tidy(dry_run=False)
    assert [path.name for path in darkroom().runs.iterdir()] == [runs[0]]


# -- for any runs and files ----------------------------------------------------------------------------------

DAYS = st.sampled_from([0.0, 29.0, 31.0, 400.0])
NAMES = st.sets(st.sampled_from(["a.png", "b.png", "c.png", "d.jpeg", "e.jsonl", "f.jsonl"]), max_size=3)
RUN = st.tuples(st.none() | st.sampled_from(list(StateType)), DAYS, NAMES, NAMES)  # state, its age, files, in results


@settings(max_examples=200, deadline=None)
@given(
    runs=st.lists(RUN, max_size=4),
    saved=NAMES,
    jobs=st.fixed_dictionaries({"e.jsonl": NAMES, "f.jsonl": NAMES}),
    ages=st.fixed_dictionaries(dict.fromkeys(("a.png", "b.png", "c.png", "d.jpeg", "e.jsonl", "f.jsonl"), DAYS)),
)
def test_nothing_that_is_needed_is_ever_listed(
    runs: list[tuple[StateType | None, float, set[str], set[str]]],
    saved: set[str],
    jobs: dict[str, set[str]],
    ages: dict[str, float],
) -> None:
    before = NOW - timedelta(days=30)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(darkroom(), "home", Path(folder))
        results = Path(folder) / "results"
        for name, days in ages.items():
            written(place(name), days, text(jobs.get(name, set())).encode())
        known, needed, named = {}, set(), set(saved)
        for state, days, given_files, in_results in runs:
            run = FlowRun(flow_id=uuid4(), parameters={"jobs": [{"init_images": [text(given_files)]}]})
            if state is not None:
                run.state = State(type=state, timestamp=NOW - timedelta(days=days))
            known[str(run.id)] = run
            written(darkroom().runs / str(run.id) / "picture.png", 400)
            written(results / f"{run.id}-inputs", 400, text(in_results).encode())
            if run.state is None or not run.state.is_final() or days < 30:
                needed.add(str(run.id))
                named |= given_files | in_results
        found = old_files({run: seen(one) for run, one in known.items()}, results, [text(saved)], before)
    named |= {name for jobs_file in jobs if jobs_file in named or ages[jobs_file] < 30 for name in jobs[jobs_file]}
    # A file of jobs that is named only by another file of jobs cannot be: a job takes pictures.
    assert {old.name for old in found if old.kind == FILES} == known.keys() - needed
    assert {old.name for old in found if old.kind == GIVEN} == {n for n, days in ages.items() if days > 30} - named


def text(names: set[str]) -> str:
    return " ".join(f"store:{name}" for name in sorted(names))
