"""Whether Prefect still does what it does not document, as far as the worker needs it. One test for each use."""

from __future__ import annotations

import subprocess
import sys
import warnings
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from tests.servers import Prefect
from worker.prefect_internals import ENGINE, RUN_ID, WORKER_LABEL, allow_own_process_worker
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
