"""The fork server and its client: what a run's process sees, and how the end of each ends the other.

No Prefect server: an engine of the test's own stands where Prefect's would.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.rest import PROJECT
from tests.waiting import until
from worker import fork
from worker.fork_server import READY_LINE
from worker.prefect_internals import ENGINE

CLIENT = PROJECT / "worker" / "fork_client.py"


@dataclass
class ForkServer:
    """A fork server of a copy of the project, so that its code can be changed, with an engine that the test wrote."""

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
        assert self.process.stdout.readline().strip() == READY_LINE

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    def client(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(CLIENT), str(self.socket), ENGINE],
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


STAND_IN = """
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
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    folder = tmp_path_factory.mktemp("w")
    project = folder / "project"
    for room in ("webui", "store", "gpu", "blocks", "tasks", "flows", "deployments", "worker"):
        shutil.copytree(PROJECT / room, project / room, ignore=shutil.ignore_patterns("__pycache__", "embedded"))
    shutil.copy(PROJECT / "prefect.yaml", project)
    (project / "engine").mkdir()
    # An engine in place of Prefect's, found by name like that one: the client and the server do not know it.
    (project / "sitecustomize.py").write_text(SITE.format(engine=str(project / "engine" / "engine.py")))
    (project / "engine" / "engine.py").write_text(STAND_IN)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "DARKROOM_"))}
    environment |= {"PYTHONPATH": str(project), "PREFECT_HOME": str(folder / "prefect"), "DARKROOM_HOME": str(folder)}
    running = ForkServer(folder, project, environment)
    running.start()
    yield running
    running.stop()


SITE = """
import importlib.abc, importlib.util, sys
class Engine(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "prefect.engine":
            return importlib.util.spec_from_file_location(name, {engine!r})
sys.meta_path.insert(0, Engine())
"""


@pytest.fixture
def server(started: ForkServer) -> ForkServer:
    if started.process.poll() is not None:
        started.socket.unlink(missing_ok=True)
        started.start()
    return started


def said(output: str, word: str) -> str:
    words = output.split()
    return words[words.index(word) + 1]


@pytest.mark.parametrize(("kind", "code"), [("0", 0), ("3", 3), ("fail", 1), ("abort", -signal.SIGABRT)])
def test_the_exit_code_is_the_runs(server: ForkServer, kind: str, code: int) -> None:
    client = server.client(PREFECT__FLOW_RUN_ID=kind)
    output, _ = client.communicate(timeout=30)
    assert client.returncode == code, output
    assert int(said(output, "pid")) != client.pid, "it started cold"


def test_a_run_sees_what_its_client_had(server: ForkServer) -> None:
    first, _ = server.client(PREFECT__FLOW_RUN_ID="0", MINE="yours", PATH="/nowhere").communicate(timeout=30)
    second, _ = server.client(PREFECT__FLOW_RUN_ID="0").communicate(timeout=30)
    assert said(first, "cwd") == str(server.folder)
    assert (said(first, "mine"), said(first, "path")) == ("yours", "/nowhere")
    assert said(second, "mine") == "None", "an environment stayed from the run before"
    assert said(first, "threads") == "1"
    assert said(first, "seed") != said(second, "seed")
    assert int(said(first, "fds")) <= 5, "it inherited the server's sockets"


def test_sigterm_is_passed_on(server: ForkServer) -> None:
    client = server.client(PREFECT__FLOW_RUN_ID="sleep")
    assert client.stdout is not None
    until("it waits", lambda: "waiting" in client.stdout.readline())
    client.terminate()
    output, _ = client.communicate(timeout=30)
    assert "terminated" in output
    assert client.returncode == 7


def test_a_killed_client_leaves_no_run(server: ForkServer) -> None:
    client = server.client(PREFECT__FLOW_RUN_ID="sleep")
    assert client.stdout is not None
    until("it waits", lambda: "waiting" in client.stdout.readline())
    (child,) = server.children()
    client.kill()
    client.wait(10)
    until("the run is gone", lambda: not child.is_running())


def test_a_killed_run_kills_its_client(server: ForkServer) -> None:
    client = server.client(PREFECT__FLOW_RUN_ID="sleep")
    assert client.stdout is not None
    until("it waits", lambda: "waiting" in client.stdout.readline())
    server.children()[0].kill()
    client.communicate(timeout=30)
    assert client.returncode == -signal.SIGKILL


def test_a_killed_fork_server_leaves_no_run_and_the_next_starts_cold(server: ForkServer) -> None:
    client = server.client(PREFECT__FLOW_RUN_ID="sleep")
    assert client.stdout is not None
    until("it waits", lambda: "waiting" in client.stdout.readline())
    (child,) = server.children()
    server.process.kill()
    server.process.wait(10)
    client.communicate(timeout=30)
    assert client.returncode == 1
    until("the run is gone", lambda: not child.is_running())
    cold = server.client(PREFECT__FLOW_RUN_ID="3")
    output, _ = cold.communicate(timeout=60)
    assert cold.returncode == 3
    assert int(said(output, "pid")) == cold.pid, "the client itself becomes the run"


def test_other_settings_start_cold(server: ForkServer) -> None:
    client = server.client(PREFECT__FLOW_RUN_ID="0", PREFECT_LOGGING_LEVEL="DEBUG")
    output, _ = client.communicate(timeout=60)
    assert int(said(output, "pid")) == client.pid
    assert said(output, "mine") == "None"


def test_nothing_is_left_of_many_runs(server: ForkServer) -> None:
    process = psutil.Process(server.process.pid)

    def some() -> None:
        clients = [server.client(PREFECT__FLOW_RUN_ID="0") for _ in range(10)]
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


def test_changed_code_starts_cold_and_then_anew(server: ForkServer) -> None:
    os.utime(server.project / "gpu" / "lease.py", (1, 1))
    client = server.client(PREFECT__FLOW_RUN_ID="0")
    output, _ = client.communicate(timeout=60)
    assert int(said(output, "pid")) == client.pid, "it ran old code"
    assert server.process.wait(20) == 0, "its worker starts another one"


def test_the_fork_server_outlives_its_worker_until_its_runs_are_over(server: ForkServer) -> None:
    client = server.client(PREFECT__FLOW_RUN_ID="sleep")
    assert client.stdout is not None and server.process.stdin is not None
    until("it waits", lambda: "waiting" in client.stdout.readline())
    server.process.stdin.close()
    late = server.client(PREFECT__FLOW_RUN_ID="3")
    late.communicate(timeout=60)
    assert late.returncode == 3
    assert server.process.poll() is None
    client.terminate()
    client.communicate(timeout=30)
    assert client.returncode == 7
    assert server.process.wait(20) == 0


def test_a_client_that_gave_up_is_not_forked_for(server: ForkServer) -> None:
    """The server is stopped for longer than a client waits, and finds its request when it goes on."""
    server.process.send_signal(signal.SIGSTOP)
    client = server.client(PREFECT__FLOW_RUN_ID="0")
    assert client.wait(60) == 0, "it started cold"
    server.process.send_signal(signal.SIGCONT)  # until then the socket holds the client's output open
    output, _ = client.communicate(timeout=60)
    assert output.split().count("pid") == 1 and int(said(output, "pid")) == client.pid
    after = server.client(PREFECT__FLOW_RUN_ID="sleep")  # the server takes its clients in order
    assert after.stdout is not None
    until("it waits", lambda: "waiting" in after.stdout.readline())
    assert len(server.children()) == 1, "the run of the client that gave up was started a second time"
    after.terminate()
    after.communicate(timeout=30)


def test_a_client_that_dies_before_it_confirms_gets_no_fork(server: ForkServer) -> None:
    with socket.socket(socket.AF_UNIX) as link, (server.folder / "output").open("w") as output:
        link.settimeout(30)
        link.connect(str(server.socket))
        run = server.environment | {"PREFECT__FLOW_RUN_ID": "0"}
        request = b"\0".join([b"/", *(f"{name}={value}".encode() for name, value in run.items())])
        socket.send_fds(link, [len(request).to_bytes(4, "little")], [output.fileno()] * 3)
        link.sendall(request)
        assert link.recv(1) == b"r"
    after = server.client(PREFECT__FLOW_RUN_ID="0")
    after.communicate(timeout=30)
    assert after.returncode == 0
    assert (server.folder / "output").read_text() == ""


def test_the_folder_of_a_killed_worker_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = (
        "import time; from worker.fork import ForkServer; server = ForkServer(); print(flush=True); time.sleep(600)"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, cwd=PROJECT
    ) as other:
        assert other.stdout and other.stdout.readline()
        (folder,) = tmp_path.iterdir()
        kept = fork.ForkServer()
        assert folder.exists(), "its worker lives"
        other.kill()
        other.wait()
        fork.ForkServer()
    assert not folder.exists()
    assert Path(kept._folder).exists()


def test_a_start_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first start of the fork server only prints something and hangs."""
    script = tmp_path / "server"
    script.write_text(HANGS_ONCE.format(marker=tmp_path / "marker", python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setattr(fork, "SERVER", (str(script),))
    monkeypatch.setattr(fork, "READY_WITHIN", 1.0)
    monkeypatch.setattr(fork, "PAUSES", (0.01, 0.01))

    others = set(psutil.Process().children())

    async def start() -> tuple[str, str]:
        server = fork.ForkServer()
        before = server.command
        keeps = asyncio.create_task(server.keep_running())
        await asyncio.wait_for(server.ready.wait(), 60)
        after = server.command
        keeps.cancel()
        await asyncio.gather(keeps, return_exceptions=True)
        async with asyncio.timeout(60):
            while set(psutil.Process().children()) - others:  # it ends with its standard input
                await asyncio.sleep(0.01)
        return before, after

    before, after = asyncio.run(start())
    assert before == fork.COLD_START
    assert "fork_client" in after


HANGS_ONCE = """#!/bin/sh
echo something else
[ -e {marker} ] || {{ touch {marker}; exec sleep 600; }}
echo "fork server: ready"
exec cat
"""
