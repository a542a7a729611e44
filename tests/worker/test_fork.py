"""The warm process and its client: what a run's process sees, and how the end of each ends the other.

No Prefect server: an engine of the test's own stands where Prefect's would.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.servers import PROJECT, until

CLIENT = PROJECT / "worker" / "fork_client.py"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here: runs start cold")


@dataclass
class Warm:
    """A warm process of a copy of the project, so that its code can be changed, with an engine that the test wrote."""

    folder: Path
    project: Path
    environment: dict[str, str]
    process: subprocess.Popen[str] = field(init=False)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker.fork_server", str(self.socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.project,
            env=self.environment,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "warm"

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    def client(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(CLIENT), str(self.socket)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment | environment,
        )

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def stop(self) -> None:
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(20)


ENGINE = """
import os, pathlib, random, signal, sys, threading, time

def __getattr__(name):
    return None  # Prefect imports it, too

def main():
    kind = os.environ["PREFECT__FLOW_RUN_ID"]
    print("pid", os.getpid(), "cwd", os.getcwd(), "seed", random.random(), "argv", sys.argv[1:], flush=True)
    print("threads", threading.active_count(), flush=True)
    print("mine", os.environ.get("MINE"), "path", os.environ.get("PATH"), flush=True)
    print("fds", len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0, flush=True)
    if kind == "sleep":
        def stop(*_):
            print("terminated", flush=True)
            sys.exit(7)
        signal.signal(signal.SIGTERM, stop)
        print("waiting", flush=True)
        signal.pause()
    if kind == "abort":
        os.kill(os.getpid(), signal.SIGABRT)
    if kind == "fail":
        raise RuntimeError("no good")
    sys.exit(int(kind) if kind.isdigit() else 0)

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    folder = tmp_path_factory.mktemp("w")
    project = folder / "project"
    for room in ("webui", "store", "gpu", "blocks", "tasks", "flows", "deployments", "worker"):
        shutil.copytree(PROJECT / room, project / room, ignore=shutil.ignore_patterns("__pycache__", "embedded"))
    shutil.copy(PROJECT / "prefect.yaml", project)
    (project / "engine").mkdir()
    # An engine in place of Prefect's, found by name like that one: the client and the server do not know it.
    (project / "sitecustomize.py").write_text(SITE.format(engine=str(project / "engine" / "engine.py")))
    (project / "engine" / "engine.py").write_text(ENGINE)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "DARKROOM_"))}
    environment |= {"PYTHONPATH": str(project), "PREFECT_HOME": str(folder / "prefect"), "DARKROOM_HOME": str(folder)}
    warm = Warm(folder, project, environment)
    warm.start()
    yield warm
    warm.stop()


SITE = """
import importlib.abc, importlib.util, sys
class Engine(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "prefect.engine":
            return importlib.util.spec_from_file_location(name, {engine!r})
sys.meta_path.insert(0, Engine())
"""


@pytest.fixture
def warm(started: Warm) -> Warm:
    if started.process.poll() is not None:
        started.socket.unlink(missing_ok=True)
        started.start()
    return started


def said(output: str, word: str) -> str:
    words = output.split()
    return words[words.index(word) + 1]


@pytest.mark.parametrize(("kind", "code"), [("0", 0), ("3", 3), ("fail", 1), ("abort", -signal.SIGABRT)])
def test_the_exit_code_is_the_runs(warm: Warm, kind: str, code: int) -> None:
    client = warm.client(PREFECT__FLOW_RUN_ID=kind)
    output, _ = client.communicate(timeout=30)
    assert client.returncode == code, output
    assert int(said(output, "pid")) != client.pid, "it started cold"


def test_a_run_sees_what_its_client_had(warm: Warm) -> None:
    first, _ = warm.client(PREFECT__FLOW_RUN_ID="0", MINE="yours", PATH="/nowhere").communicate(timeout=30)
    second, _ = warm.client(PREFECT__FLOW_RUN_ID="0").communicate(timeout=30)
    assert said(first, "cwd") == str(warm.folder)
    assert (said(first, "mine"), said(first, "path")) == ("yours", "/nowhere")
    assert said(second, "mine") == "None", "an environment stayed from the run before"
    assert said(first, "threads") == "1"
    assert said(first, "seed") != said(second, "seed")
    assert int(said(first, "fds")) <= 5, "it inherited the server's sockets"


def test_sigterm_is_passed_on(warm: Warm) -> None:
    client = warm.client(PREFECT__FLOW_RUN_ID="sleep")
    assert client.stdout is not None
    until("it waits", lambda: "waiting" in client.stdout.readline())
    client.terminate()
    output, _ = client.communicate(timeout=30)
    assert "terminated" in output
    assert client.returncode == 7


def test_a_killed_client_leaves_no_run(warm: Warm) -> None:
    client = warm.client(PREFECT__FLOW_RUN_ID="sleep")
    assert client.stdout is not None
    until("it waits", lambda: "waiting" in client.stdout.readline())
    (child,) = warm.children()
    client.kill()
    client.wait(10)
    until("the run is gone", lambda: not child.is_running())


def test_a_killed_run_kills_its_client(warm: Warm) -> None:
    client = warm.client(PREFECT__FLOW_RUN_ID="sleep")
    assert client.stdout is not None
    until("it waits", lambda: "waiting" in client.stdout.readline())
    warm.children()[0].kill()
    client.communicate(timeout=30)
    assert client.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_a_killed_warm_process_leaves_no_run_and_the_next_starts_cold(warm: Warm) -> None:
    client = warm.client(PREFECT__FLOW_RUN_ID="sleep")
    assert client.stdout is not None
    until("it waits", lambda: "waiting" in client.stdout.readline())
    (child,) = warm.children()
    warm.process.kill()
    warm.process.wait(10)
    client.communicate(timeout=30)
    assert client.returncode == 1
    until("the run is gone", lambda: not child.is_running())
    cold = warm.client(PREFECT__FLOW_RUN_ID="3")
    output, _ = cold.communicate(timeout=60)
    assert cold.returncode == 3
    assert int(said(output, "pid")) == cold.pid, "the client itself becomes the run"


def test_other_settings_start_cold(warm: Warm) -> None:
    client = warm.client(PREFECT__FLOW_RUN_ID="0", PREFECT_LOGGING_LEVEL="DEBUG")
    output, _ = client.communicate(timeout=60)
    assert int(said(output, "pid")) == client.pid
    assert said(output, "mine") == "None"


def test_nothing_is_left_of_many_runs(warm: Warm) -> None:
    process = psutil.Process(warm.process.pid)

    def some() -> None:
        clients = [warm.client(PREFECT__FLOW_RUN_ID="0") for _ in range(10)]
        for client in clients:
            client.communicate(timeout=60)
            assert client.returncode == 0

    some()
    before = process.num_fds(), process.memory_info().rss
    for _ in range(4):
        some()
    until("every child is reaped", lambda: not process.children())
    until("every link is closed", lambda: process.num_fds() <= before[0])
    assert process.memory_info().rss <= 1.05 * before[1]


def test_changed_code_starts_cold_and_then_anew(warm: Warm) -> None:
    os.utime(warm.project / "gpu" / "lease.py", (1, 1))
    client = warm.client(PREFECT__FLOW_RUN_ID="0")
    output, _ = client.communicate(timeout=60)
    assert int(said(output, "pid")) == client.pid, "it ran old code"
    assert warm.process.wait(20) == 75


def test_the_warm_process_outlives_its_worker_until_its_runs_are_over(warm: Warm) -> None:
    client = warm.client(PREFECT__FLOW_RUN_ID="sleep")
    assert client.stdout is not None and warm.process.stdin is not None
    until("it waits", lambda: "waiting" in client.stdout.readline())
    warm.process.stdin.close()
    late = warm.client(PREFECT__FLOW_RUN_ID="3")
    late.communicate(timeout=60)
    assert late.returncode == 3
    assert warm.process.poll() is None
    client.terminate()
    client.communicate(timeout=30)
    assert client.returncode == 7
    assert warm.process.wait(20) == 0
