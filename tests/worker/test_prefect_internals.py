"""Whether Prefect still does what it does not document, as far as the worker needs it. One test for each use."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import warnings
from datetime import timedelta
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun
from prefect.events import clients
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from tests.rest import PROJECT
from tests.servers import Prefect
from worker.prefect_internals import (
    CANCEL_REPLAY,
    ENGINE,
    OF_ONE_RUN,
    RUN_ID,
    WORKER_LABEL,
    WORKER_NAME,
    allow_own_process_worker,
)
from worker.recovery import worker_name
from worker.worker import Configuration


def prepared(configuration: ProcessJobConfiguration) -> ProcessJobConfiguration:
    """As Prefect's worker has it made for a run."""
    configuration.prepare_for_flow_run(FlowRun(flow_id=uuid4(), name="x"))
    return configuration


def test_the_engine_is_the_module_that_prefects_own_command_runs() -> None:
    assert str(prepared(ProcessJobConfiguration(command=None, env={})).command).split()[1:] == ["-m", ENGINE]


def test_the_engine_takes_its_run_from_the_environment_variable() -> None:
    done = subprocess.run(
        [sys.executable, "-m", ENGINE], env={RUN_ID: "no uuid"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Invalid flow run id" in done.stdout + done.stderr


def test_a_runs_process_has_the_runs_id_in_its_environment() -> None:
    assert RUN_ID in prepared(Configuration(command="true", env={})).env


def test_a_runs_process_has_its_workers_name_in_its_environment() -> None:
    configuration = Configuration(command="true", env={})
    configuration.prepare_for_flow_run(FlowRun(flow_id=uuid4(), name="x"), worker_name="ours")
    assert configuration.env[WORKER_NAME] == "ours"


def test_what_prefect_sets_for_one_run_only_is_told_by_its_name() -> None:
    one, other = (prepared(Configuration(command="true", env={})).env for _ in range(2))
    differ = {name for name in one | other if one.get(name) != other.get(name)}
    assert differ
    assert not [name for name in differ if not name.startswith(OF_ONE_RUN)]


def test_a_subscriber_is_sent_the_events_of_the_last_minute() -> None:
    """Read in the source, for the behaviour itself takes the minute (test_worker_resumes)."""
    assert timedelta(minutes=1) == CANCEL_REPLAY
    assert "self._backfill_since = current_time - timedelta(minutes=1)" in inspect.getsource(clients)


def test_what_is_not_documented_stands_in_one_module() -> None:
    for room in ("blocks", "cli", "deployments", "flows", "gpu", "services", "store", "tasks", "worker"):
        for path in (PROJECT / room).rglob("*.py"):
            if path.name != "prefect_internals.py":
                assert not re.search(r"PREFECT__|prefect\.worker\.name", path.read_text()), path


def test_our_worker_takes_the_place_of_prefects_without_a_warning() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        allow_own_process_worker()

        class DarkroomWorker(ProcessWorker):
            pass

        class AnotherWorker(ProcessWorker):
            pass

    assert [str(one.message)[:20] for one in seen] == ["Type 'AnotherWorker'"]


def test_a_run_carries_the_label_of_its_worker(deployed: Prefect) -> None:
    with deployed.worker():
        run = deployed.queue()
        assert deployed.ends(run) == "COMPLETED"
    assert deployed.run(run)["labels"][WORKER_LABEL] == worker_name()
