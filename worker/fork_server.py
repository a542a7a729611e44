"""The fork server: a process that has imported Prefect and the flows, and forks once for each run.

It has one thread only, because no other thread would live on in a fork. It ends when its standard input closes (its
worker is gone) and its last run has ended.

How a run is handed over: the client sends the request with its output's file descriptors; the server answers ``r``
(ready) or closes the link; the client answers ``f`` (fork), and from the fork it gets its pid, and from the server at
the end the exit code. A client that has gone gets no fork: it has started the run by itself.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deployments.manifest import read_manifest
from store.settings import PROJECT
from worker.prefect_internals import ENGINE, OF_ONE_RUN

READY_LINE = "fork server: ready"
ANSWER_WITHIN = 2.0  # seconds for a client to send its request, and to say that it wants the fork


@dataclass
class Request:
    """A run to start: the client's environment, directory, output, and the link to the client."""

    environment: dict[bytes, bytes]
    directory: bytes
    output: list[int]
    link: socket.socket

    @classmethod
    def read(cls, link: socket.socket) -> Request:
        """
        Raises:
            OSError: the client has gone, or takes longer than ANSWER_WITHIN.
        """
        link.settimeout(ANSWER_WITHIN)
        header, output, _, _ = socket.recv_fds(link, 4, 3)
        length, body = int.from_bytes(header, "little"), b""
        while len(body) < length:
            part = link.recv(length - len(body))
            if not part:
                raise ConnectionError("the client went away")
            body += part
        directory, *variables = body.split(b"\0")
        return cls(dict(variable.split(b"=", 1) for variable in variables), directory, list(output), link)

    def take_over(self) -> None:
        """Make this process, a fresh fork, what a process started by the client would have been."""
        self.link.sendall(os.getpid().to_bytes(4, "little"))
        self.link.close()
        for target, source in enumerate(self.output):
            os.dup2(source, target)
            os.close(source)
        os.chdir(self.directory)
        os.environb.clear()
        os.environb.update(self.environment)
        sys.argv = [ENGINE]
        sys.path[0] = str(Path.cwd())
        random.seed()


@dataclass
class Server:
    """Forks for each request on ``listener``, a Unix socket."""

    listener: socket.socket
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _links: dict[int, socket.socket] = field(default_factory=dict)  # by the pid of the fork
    _closing: bool = False

    def __post_init__(self) -> None:
        loaded = (str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values()))
        self._files = [Path(f) for f in loaded if f.startswith(f"{PROJECT}{os.sep}") and "site-packages" not in f]
        self._changed = self._last_change()
        self._settings = _settings_in(dict(os.environb))

    def serve(self) -> Request | None:
        """Returns in each fork, with its request; here, with None, when there is nothing left to do."""
        ended, signalled = socket.socketpair()
        for end in (ended, signalled):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
        self._selector.register(self.listener, selectors.EVENT_READ, "client")
        self._selector.register(sys.stdin, selectors.EVENT_READ, "worker")
        self._selector.register(ended, selectors.EVENT_READ, "ended")
        while self._links or not self._closing:
            for key, _ in self._selector.select():
                if key.data == "client":
                    if (request := self._accept()) is not None:
                        signal.set_wakeup_fd(-1)
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        self._selector.close()
                        for inherited in (self.listener, ended, signalled, *self._links.values()):
                            inherited.close()
                        return request
                elif key.data == "worker":
                    self._selector.unregister(sys.stdin)
                    self._close()
                elif key.data == "ended":
                    with suppress(BlockingIOError):
                        ended.recv(1024)
                else:
                    self._end(key.data)
                self._reap()
        return None

    def _close(self) -> None:
        """Take no more runs; end when the last is over."""
        if not self._closing:
            self._closing = True
            self._selector.unregister(self.listener)
            self.listener.close()

    def _accept(self) -> Request | None:
        """Serve the next client; returns its request in the fork, None here."""
        link, _ = self.listener.accept()
        request, pid = None, -1
        try:
            request = Request.read(link)
            if (reason := self._refusal(request)) is not None:
                print(f"fork server: {reason}; this run starts without it", file=sys.stderr, flush=True)
            else:
                link.sendall(b"r")
                if link.recv(1) == b"f" and (pid := os.fork()) == 0:
                    return request
        except (OSError, ValueError) as error:
            print(f"fork server: a client was not served: {error}", file=sys.stderr, flush=True)
        for descriptor in request.output if request else []:
            os.close(descriptor)
        if pid > 0:
            link.settimeout(None)
            self._links[pid] = link
            self._selector.register(link, selectors.EVENT_READ, pid)
        else:
            link.close()
        return None

    def _refusal(self, request: Request) -> str | None:
        """Why a fork would not be what a process of the client's own is."""
        if self._last_change() != self._changed:
            self._close()
            return "the code has changed, another server follows"
        theirs, ours = _settings_in(request.environment), self._settings
        if names := sorted(name.decode() for name in theirs | ours if theirs.get(name) != ours.get(name)):
            return f"settings that are read at the import differ ({', '.join(names)})"
        return "there is more than one thread" if threading.active_count() > 1 else None

    def _last_change(self) -> list[int]:
        """When each file of the project that is imported here was changed last.

        Raises:
            OSError: one is gone.
        """
        return [file.stat().st_mtime_ns for file in self._files]

    def _end(self, pid: int) -> None:
        """End a run whose client has gone; nobody watches it any more."""
        self._selector.unregister(self._links[pid])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Tell the clients of ended forks how they ended."""
        for pid in list(self._links):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                link = self._links.pop(pid)
                with suppress(KeyError):  # the client has gone
                    self._selector.unregister(link)
                with suppress(OSError):
                    link.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True))
                link.close()


def _settings_in(environment: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The variables that are read at the import."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith((b"PREFECT_", b"DARKROOM_", b"PYTHON")) and not name.startswith(OF_ONE_RUN.encode())
    }


def main() -> int:
    for planned in read_manifest().deployments:
        importlib.import_module(planned.entrypoint.rpartition(".")[0])
    gc.collect()
    gc.freeze()  # forks share these pages until they write to them, and a collection would write to all
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        print(READY_LINE, flush=True)
        server = Server(listener)
        request = server.serve()
        if request is None:
            return 0
        request.take_over()
    sys.modules.pop(ENGINE, None)  # runpy warns of a module that it runs and that was imported before
    runpy.run_module(ENGINE, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
