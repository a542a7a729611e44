"""When and in which order `darkroom worker` starts what waits."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from backlog import change
from services.process import Child
from tests.servers import Prefect
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI


@pytest.fixture
def two_at_once(deployed: Prefect) -> Iterator[None]:
    """Look-ahead: the pool hands out two runs."""
    deployed.call("PATCH", "/work_pools/gpu", {"concurrency_limit": 2})
    yield
    deployed.call("PATCH", "/work_pools/gpu", {"concurrency_limit": 1})


def on_the_gpu(painter: EmbeddedWebUI, runs: list[str]) -> list[str]:
    """The runs in the order of their requests; a run's task ids hold its id's begin."""
    begins = {run[:8]: run for run in runs}
    sent = painter.requests.of("POST", "/sdapi/v1/txt2img")  # other modules' too, strangers without an id among them
    tasks = [body["force_task_id"] for _, _, _, body in sent if body and body.get("force_task_id")]
    found = [begins.get(task.removeprefix("task(darkroom-")[:8], "") for task in tasks]
    return [run for run in dict.fromkeys(found) if run]


# Before the worker of this module: these two start their own, and find the pool idle.


@pytest.mark.usefixtures("two_at_once")
def test_of_two_runs_handed_out_at_once_the_first_has_the_gpu_first(deployed: Prefect, painter: EmbeddedWebUI) -> None:
    """The first starts cold, seconds later than a warm start."""
    slow = deployed.queue(name="slow", env={"PREFECT_LOGGING_LEVEL": "WARNING"})
    runs = [slow, deployed.queue(name="quick")]
    with deployed.worker():
        for run in runs:
            assert deployed.ends(run) == "COMPLETED"
    assert on_the_gpu(painter, runs) == runs


@pytest.mark.usefixtures("two_at_once")
def test_an_idle_pool_with_look_ahead_loads_each_checkpoint_once(deployed: Prefect, painter: EmbeddedWebUI) -> None:
    names = ["oil", "ink", "oil", "ink", "oil", "ink"]
    runs = [deployed.queue(name, name=f"{number}-{name}") for number, name in enumerate(names)]
    with deployed.worker():
        for run in runs:
            assert deployed.ends(run) == "COMPLETED"
    checkpoints = [names[runs.index(run)] for run in on_the_gpu(painter, runs)]
    assert checkpoints in (["oil"] * 3 + ["ink"] * 3, ["ink"] * 3 + ["oil"] * 3)


@pytest.fixture(scope="module")
def warm_worker(deployed: Prefect) -> Iterator[Child]:
    with deployed.worker(PREFECT_WORKER_QUERY_SECONDS="60") as child:
        yield child


def test_a_waiting_run_starts_by_event_not_by_polling(warm_worker: Child, deployed: Prefect) -> None:
    """Polling alone, every 60 s here, would leave three such gaps."""
    runs = [deployed.queue(name=f"gap-{number}") for number in range(4)]
    for run in runs:
        assert deployed.ends(run) == "COMPLETED"
    history = [deployed.call("GET", f"/flow_run_states/?flow_run_id={run}") for run in runs]
    ended = [max(state["timestamp"] for state in states if state["type"] == "COMPLETED") for states in history]
    taken = [min(state["timestamp"] for state in states if state["type"] == "PENDING") for states in history]
    assert all(later > earlier for earlier, later in zip(ended, taken[1:], strict=False)), "two at a time"


def test_runs_are_taken_by_checkpoint(warm_worker: Child, deployed: Prefect, painter: EmbeddedWebUI) -> None:
    first = deployed.queue("photo", steps=20, name="first")
    painter.steps.step_time = 1.0  # it paints until all are queued
    until("it runs", lambda: deployed.run(first)["state_type"] == "RUNNING")
    names = ["oil", "photo", "oil", "photo", "ink", "oil"]
    runs = [deployed.queue(name, name=f"{number}-{name}") for number, name in enumerate(names)]
    painter.steps.step_time = 0.0
    for run in runs:
        assert deployed.ends(run, 90) == "COMPLETED"
    started = sorted(zip(names, runs, strict=True), key=lambda one: deployed.run(one[1])["start_time"])
    order = [name for name, _ in started]
    assert order == ["photo", "photo", "oil", "oil", "oil", "ink"]


def test_runs_that_wait_for_long_are_taken_by_checkpoint_too(
    warm_worker: Child, deployed: Prefect, painter: EmbeddedWebUI
) -> None:
    """Prefect names each run Late that waits for more than 15 s, and refuses to name it so twice."""
    first = deployed.queue("photo", steps=20, name="before-the-late")
    painter.steps.step_time = 1.0  # it paints until all are queued
    until("it runs", lambda: deployed.run(first)["state_type"] == "RUNNING")
    names = ["oil", "ink", "photo"]
    runs = [deployed.queue(name, name=f"late-{name}") for name in names]
    for run in runs:
        late = {"type": "SCHEDULED", "name": "Late", "state_details": {"scheduled_time": deployed.run(run)["created"]}}
        deployed.call("POST", f"/flow_runs/{run}/set_state", {"state": late})
        history = deployed.call("GET", f"/flow_run_states/?flow_run_id={run}")
        assert "Late" in [state["name"] for state in history]  # by now the planner may have moved it again
    painter.steps.step_time = 0.0
    for run in runs:
        assert deployed.ends(run, 90) == "COMPLETED"
    started = sorted(zip(names, runs, strict=True), key=lambda one: deployed.run(one[1])["start_time"])
    assert [name for name, _ in started] == ["photo", "oil", "ink"]


def test_a_moved_run_and_a_priority_are_obeyed_by_event(
    warm_worker: Child, deployed: Prefect, painter: EmbeddedWebUI
) -> None:
    """Against the checkpoint that is loaded; the worker hears of it at once, it polls every 60 s."""
    first = deployed.queue("photo", steps=20, name="before-the-moved")
    painter.steps.step_time = 0.2
    until("it runs", lambda: deployed.run(first)["state_type"] == "RUNNING")
    names = ["photo", "oil", "photo", "ink", "photo"]
    runs = [deployed.queue(name, name=f"{number}-{name}") for number, name in enumerate(names)]
    with temporary_settings({PREFECT_API_URL: deployed.api}), get_client(sync_client=True) as client:
        change.move(client, UUID(runs[3]), "top")
        change.set_priority(client, UUID(runs[4]), 1)
    until("the planner has put it first", lambda: next_due(deployed, runs) == runs[3], 10)
    painter.steps.step_time = 0.0
    for run in runs:
        assert deployed.ends(run, 90) == "COMPLETED"
    assert sorted(runs, key=lambda run: deployed.run(run)["start_time"]) == [runs[n] for n in (3, 0, 2, 1, 4)]


def next_due(deployed: Prefect, runs: list[str]) -> str:
    return min(runs, key=lambda run: deployed.run(run)["next_scheduled_start_time"] or "")
