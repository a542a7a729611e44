"""What recovery makes of odd answers, one look at a time against a real server; no worker is there."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.bootstrap import POOL
from tests.servers import Prefect, until
from worker import recovery
from worker.prefect_internals import RUN_ID, WORKER_LABEL, WORKER_NAME
from worker.recovery import CRASHES, Recovery, StoppedProcesses, worker_name


def look(deployed: Prefect, one: Callable[[PrefectClient, str], Awaitable[None]]) -> None:
    async def ask() -> None:
        async with get_client() as client:
            await one(client, POOL)

    with temporary_settings({PREFECT_API_URL: deployed.api}):
        asyncio.run(ask())


def running(deployed: Prefect, **labels: Any) -> str:
    """A run of this host's worker, RUNNING without a process."""
    run = deployed.queue(name="dead")
    deployed.call("PATCH", f"/flow_runs/{run}/labels", {WORKER_LABEL: worker_name()} | labels)
    for state in ("PENDING", "RUNNING"):
        deployed.set_state(run, state, force=True)
    return run


@pytest.fixture
def recover() -> Recovery:
    return Recovery()


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "GRACE", 0.0)


def ended(deployed: Prefect, *runs: str) -> None:
    for run in runs:
        deployed.call("DELETE", f"/flow_runs/{run}")


@pytest.mark.usefixtures("no_grace")
def test_a_label_that_somebody_edited_keeps_no_run_from_its_recovery(deployed: Prefect, recover: Recovery) -> None:
    odd, other = running(deployed, **{CRASHES: "many"}), running(deployed)
    for _ in range(2):  # the state is seen, then it is old enough
        look(deployed, recover.recover)
    assert [deployed.run(run)["state_name"] for run in (odd, other)] == ["AwaitingRetry"] * 2
    assert [deployed.run(run)["labels"][CRASHES] for run in (odd, other)] == [1, 1]
    ended(deployed, odd, other)


def test_a_clock_that_jumps_makes_no_state_old(
    deployed: Prefect, recover: Recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour ahead of the server's: each state would be older than every grace."""
    run = running(deployed)

    class Ahead(recovery.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + recovery.timedelta(hours=1)

    monkeypatch.setattr(recovery, "datetime", Ahead)
    for _ in range(2):
        look(deployed, recover.recover)
    assert deployed.run(run)["state_type"] == "RUNNING"
    ended(deployed, run)


def test_a_run_that_was_retried_since_it_was_read_is_left_alone(deployed: Prefect, recover: Recovery) -> None:
    """As when a person presses Retry, or another worker is faster: it would be started twice."""
    run = running(deployed)

    async def stale(client: PrefectClient, _: str) -> None:
        read = await client.read_flow_run(UUID(run))
        deployed.set_state(run, "COMPLETED", force=True)
        await recover._resume(client, read)

    look(deployed, stale)
    assert deployed.run(run)["state_type"] == "COMPLETED"


@pytest.fixture
def process(deployed: Prefect, monkeypatch: pytest.MonkeyPatch) -> Iterator[psutil.Process]:
    """What recovery takes for a run's process of this worker."""
    monkeypatch.setenv("PREFECT_API_URL", deployed.api)
    environment = os.environ | {WORKER_NAME: worker_name(), RUN_ID: "one"}
    command = [sys.executable, "-c", "print(flush=True); import time; time.sleep(600)"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as started:
        assert started.stdout
        started.stdout.readline()
        yield psutil.Process(started.pid)
        started.kill()


def test_a_process_that_is_stopped_goes_on_once_and_is_killed_the_second_time(
    process: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = StoppedProcesses()
    asyncio.run(stopped.look())
    process.send_signal(signal.SIGSTOP)
    until("it is stopped", lambda: process.status() == psutil.STATUS_STOPPED)
    asyncio.run(stopped.look())
    assert process.status() == psutil.STATUS_STOPPED, "not at once"
    monkeypatch.setattr(recovery, "STOPPED_FOR", 0.0)
    asyncio.run(stopped.look())
    until("it goes on", lambda: process.status() != psutil.STATUS_STOPPED)
    process.send_signal(signal.SIGSTOP)
    until("it is stopped", lambda: process.status() == psutil.STATUS_STOPPED)
    asyncio.run(stopped.look())
    until("it is killed", lambda: process.status() == psutil.STATUS_ZOMBIE)
