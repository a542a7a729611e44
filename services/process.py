"""Processes that belong to this one: started in groups of their own, watched, and gone when it is done with them."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

STOP_WITHIN = 15.0  # seconds between SIGTERM and SIGKILL; in that time a run interrupts its WebUI and the worker ends
TAIL = 15  # lines of a log that go into an error


class ChildDied(RuntimeError):
    """A process that was needed ended by itself. The message holds the end of its log."""


class Child:
    """One process, its log, and its group.

    It gets a session of its own, so that a Ctrl-C in the terminal reaches only us and we stop the parts in order. A
    SIGINT that is ignored here would be ignored there for good (Prefect's worker then never ends): it gets a handler.
    """

    def __init__(self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with log.open("ab") as output:
            self._start_of_log = output.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def since_start(self) -> str:
        """What it wrote to its log."""
        with self.log.open("rb") as log:
            log.seek(self._start_of_log)
            return log.read().decode(errors="replace")

    def check(self) -> None:
        """
        Raises:
            ChildDied: it is gone.
        """
        if not self.alive:
            tail = self.since_start().splitlines()[-TAIL:]
            raise ChildDied("\n  ".join([f"{self.how_it_ended()}. The end of {self.log}:", *tail]))

    def how_it_ended(self) -> str:
        code = self._process.wait()
        return f"{self.name} was killed by signal {-code}" if code < 0 else f"{self.name} ended with exit code {code}"

    def listens_on(self, port: int) -> bool:
        """Whether it, or a child of its, has the TCP port."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            found = [c for one in [process, *process.children(recursive=True)] for c in one.net_connections("tcp")]
            return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)
        return False

    def wait_until(self, ready: Callable[[], bool], within: float) -> None:
        """Return when ``ready()`` is true.

        Raises:
            ChildDied: it ended first.
            TimeoutError: it is not ready after so many seconds.
        """
        deadline = time.monotonic() + within
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} was not ready in {within:g} s; see {self.log}")
            time.sleep(0.05)

    def stop(self, within: float = STOP_WITHIN) -> None:
        """Ask it to end, wait, and kill what is left of its group."""
        if self.alive:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(within)
        self.kill()

    def kill(self) -> None:
        """End it and all of its group, now."""
        self._signal_group(signal.SIGKILL)
        self._process.wait()

    @property
    def has_group(self) -> bool:
        """Whether a process of its group is there; it may outlive the first one."""
        return self._signal_group(0)

    def _signal_group(self, number: int) -> bool:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS: not permitted where only zombies are left
            return False
        return True


def appending_to(log: Path, command: str) -> str:
    """The command line, run by a shell that appends its output to ``log`` and then becomes it. A pipe to the process
    that started it would break when that dies, and rich, which prints Prefect's log lines, ends the program then."""
    log.parent.mkdir(parents=True, exist_ok=True)
    return shlex.join(["sh", "-c", f"exec {command} >>{shlex.quote(str(log))} 2>&1"])


def free_port(preferred: int) -> int:
    """``preferred`` where nobody listens on it, else a free one; on loopback."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")
