"""Parts that end are started again, later each time; ports that others take first are left to them."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from services import part as parts
from services import stack
from services.part import Part
from services.process import Child
from tests.waiting import until

SERVE = """
import socket, sys, time
one = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("serving", flush=True)
time.sleep(600)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that listens on the port that it is given."""
    (tmp_path / "serve_a_port.py").write_text(SERVE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "serve_a_port"


def kept_alive(one: stack.Stack) -> bool:
    one.keep_alive()
    return True


def test_a_part_that_was_killed_is_started_again_and_that_is_said(module: str, tmp_path: Path) -> None:
    said: list[str] = []
    part = Part("the part", [module, "0"], tmp_path / "log")
    try:
        part.child.wait_until(lambda: "serving" in part.child.since_start(), 30)
        first = part.child.pid
        os.kill(first, signal.SIGKILL)
        until("it is started again", lambda: part.keep_alive(said.append), 30)
        part.child.wait_until(lambda: "serving" in part.child.since_start(), 30)
        assert part.child.pid != first
        assert said == [f"the part was killed by signal 9: started again in 1 s. Its log: {tmp_path / 'log'}"]
    finally:
        part.stop()


def test_the_pause_grows_up_to_the_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(parts, "LONGEST_PAUSE", 0.03)
    said: list[str] = []
    part = Part("the part", ["no_such_module"], tmp_path / "log")

    def tried_four_times() -> bool:
        part.keep_alive(said.append)
        return len(said) == 4

    until("it is tried four times", tried_four_times, 30)
    assert [line.split(" in ")[1].split(" s.")[0] for line in said] == ["0.01", "0.02", "0.03", "0.03"]
    part.stop()


def test_a_part_that_the_system_cannot_start_leaves_the_others_alone(
    module: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    one = stack.Stack(said.append)
    one._start("the part", [module, "0"], "log", _serves)
    one._start("the other", [module, "0"], "other", _serves)
    try:
        one.parts[0].child.kill()
        monkeypatch.setattr(parts, "FIRST_PAUSE", 0.0)
        monkeypatch.setattr(parts.sys, "executable", str(home / "no-python"))
        until("it is said", lambda: kept_alive(one) and ([line for line in said if "No such file" in line]), 30)
        assert one.parts[1].child.alive
        monkeypatch.undo()
        monkeypatch.setenv("PYTHONPATH", str(home.parent))
        until("it is started again", lambda: kept_alive(one) and (one.parts[0].child.alive), 30)
    finally:
        one.close()


def test_what_a_dead_part_left_running_goes_when_the_part_is_stopped(tmp_path: Path) -> None:
    """As a run does that the worker started: it lives on, until all is stopped."""
    leave = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1)"
    (tmp_path / "leave.py").write_text(leave)
    child = Child("x", [sys.executable, str(tmp_path / "leave.py")], log=tmp_path / "log", env=os.environ)
    until("it has ended", lambda: not child.alive, 30)
    assert child.has_group
    child.kill()
    until("nothing is left", lambda: not child.has_group, 30)


def test_a_port_that_another_program_takes_first_is_left_to_it(
    module: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    one = stack.Stack(said.append)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        real, looks = stack.free_port, [taken]
        # The first look finds the port free: the other program takes it after that.
        monkeypatch.setattr(stack, "free_port", lambda port: looks.pop() if looks else real(port))
        try:
            one._on_free_port(
                "the part", taken, lambda port: one._start("the part", [module, str(port)], "log", _serves)
            )
            assert len(one.parts) == 1
            assert one.parts[0].child.alive
            assert said == [f"port {taken} is taken: the part gets {said[0].split()[-1]}"]
        finally:
            one.close()


def _serves(child: Child) -> bool:
    return "serving" in child.since_start()
