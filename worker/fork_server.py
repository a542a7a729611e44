"""The warm process: Prefect and the flows imported once, a fork for each run.

It stays single-threaded, because only the thread that forks lives on in the child. It ends when its standard input
closes (its worker is gone) and its last run has ended.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import marshal
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from PIL import Image
from pydantic import BaseModel
from rich.emoji import Emoji

from deployments.manifest import read_manifest
from store.settings import PROJECT

READY = "warm"
STALE = 75  # exit code: the code on disk is not what was imported; start anew
REQUEST_WITHIN = 2.0  # seconds
PR_SET_PDEATHSIG = 1
# What a run imports besides the flows, most of it only when it is about to use it, in the GPU's time.
ALSO = [
    "netrc",
    "prefect.artifacts",
    "prefect.client.orchestration",
    "prefect.events",
    "prefect.flow_engine",
    "prefect.logging.handlers",
    "prefect.results",
    "prefect.runtime",
    "prefect.task_engine",
    "prefect.task_runners",
    "prefect.utilities.visualization",
]


@dataclass
class Request:
    """A run to start: the client's environment, directory, output and the link to it."""

    environment: dict[bytes, bytes]
    directory: bytes
    descriptors: list[int]
    link: socket.socket

    def become(self) -> None:
        """Make this process, a fresh fork, what a process started by the client would have been."""
        for target, source in enumerate(self.descriptors):
            os.dup2(source, target)
            os.close(source)
        os.chdir(self.directory)
        os.environb.clear()
        os.environb.update(self.environment)
        sys.argv = ["prefect.engine"]
        sys.path[0] = str(Path.cwd())
        random.seed()


@dataclass
class Server:
    """Forks a child for each request; ``serve`` returns in the child, with its request, and in the parent at the end.

    Args:
        listener: the Unix socket.
    """

    listener: socket.socket
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _links: dict[int, socket.socket] = field(default_factory=dict)  # by the child's pid
    _closing: bool = False
    exit_code: int = 0

    def __post_init__(self) -> None:
        self._freshness = _modification_times()
        self._environment = _settings_in(dict(os.environb))
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        self._pid = os.getpid()

    def serve(self) -> Request | None:
        ended, wakes = socket.socketpair()
        for end in (ended, wakes):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        self._selector.register(self.listener, selectors.EVENT_READ, "new")
        self._selector.register(sys.stdin, selectors.EVENT_READ, "worker")
        self._selector.register(ended, selectors.EVENT_READ, "ended")
        while self._links or not self._closing:
            for key, _ in self._selector.select():
                if key.data == "new":
                    request = self._accept()
                    if request is not None:
                        signal.set_wakeup_fd(-1)
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        ended.close()
                        wakes.close()
                        return request
                elif key.data == "worker":
                    self._selector.unregister(sys.stdin)
                    self._close(0)
                elif key.data == "ended":
                    with suppress(BlockingIOError):
                        ended.recv(1024)
                else:
                    self._hear(key.data)
                self._reap()
        return None

    def _close(self, code: int) -> None:
        """Take no more runs; end when the last is over."""
        if not self._closing:
            self._closing, self.exit_code = True, code
            self._selector.unregister(self.listener)
            self.listener.close()

    def _accept(self) -> Request | None:
        """Answer a client; returns the request in the child that is forked for it, None here."""
        link, _ = self.listener.accept()
        request = None
        try:
            request = _receive(link)
            if _modification_times(self._freshness) != self._freshness:
                print("the code has changed: starting anew", file=sys.stderr, flush=True)
                self._close(STALE)
                link.close()
                return None
            if self._differs(request.environment) or threading.active_count() > 1:
                link.close()
                return None
            pid = os.fork()
            if pid == 0:
                self._only_the_child()
                link.close()
                return request
            link.sendall(b"y")
            self._links[pid] = link
            self._selector.register(link, selectors.EVENT_READ, pid)
        except (OSError, ValueError, EOFError) as error:
            print(f"a request could not be served: {error}", file=sys.stderr, flush=True)
            link.close()
        finally:
            if request is not None and os.getpid() == self._pid:
                for descriptor in request.descriptors:
                    os.close(descriptor)
        return None

    def _only_the_child(self) -> None:
        """Drop what belongs to the server, and die with it: nobody else would tell the client."""
        if self._libc is not None:
            self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self._pid:
                os._exit(1)
        self._selector.close()
        self.listener.close()
        for other in self._links.values():
            other.close()

    def _differs(self, environment: dict[bytes, bytes]) -> bool:
        """Whether a run brings other settings than were read here at the import: it starts cold, then."""
        theirs = _settings_in(environment)
        names = {name for name in theirs | self._environment if theirs.get(name) != self._environment.get(name)}
        if names:
            listed = ", ".join(sorted(name.decode(errors="replace") for name in names))
            print(f"a run has other settings ({listed}): it starts cold", file=sys.stderr, flush=True)
        return bool(names)

    def _hear(self, pid: int) -> None:
        """A signal from the client of the child ``pid``, or the client's end."""
        link = self._links[pid]
        try:
            numbers = link.recv(16)
        except OSError:
            numbers = b""
        with suppress(ProcessLookupError):
            for number in numbers:
                os.kill(pid, number)
            if not numbers:
                self._selector.unregister(link)
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Tell the clients of ended children how they ended."""
        for pid in list(self._links):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                link = self._links.pop(pid)
                with suppress(KeyError, ValueError):
                    self._selector.unregister(link)
                with suppress(OSError):
                    link.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True))
                link.close()


def _receive(link: socket.socket) -> Request:
    link.settimeout(REQUEST_WITHIN)
    header, descriptors, _, _ = socket.recv_fds(link, 4, 3)
    body = b""
    length = int.from_bytes(header, "little")
    while len(body) < length and (part := link.recv(length - len(body))):
        body += part
    environment, directory = marshal.loads(body)
    link.settimeout(None)
    return Request(environment, directory, list(descriptors), link)


def _settings_in(environment: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The variables that are read at import. Those with two underscores are Prefect's own, of one run."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith((b"PREFECT_", b"DARKROOM_", b"PYTHON")) and not name.startswith(b"PREFECT__")
    }


def _modification_times(of: dict[str, float] | None = None) -> dict[str, float]:
    """When each imported file of the project was changed; of the same files as ``of``, if given."""
    if of is None:
        own = str(PROJECT) + os.sep
        files = [str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())]
        of = {file: 0.0 for file in files if file.startswith(own) and "site-packages" not in file}
    times = {}
    for file in of:
        try:
            times[file] = Path(file).stat().st_mtime
        except OSError:
            times[file] = -1.0
    return times


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def main() -> int:
    for name in ALSO:
        importlib.import_module(name)
    anyio.run(anyio.sleep, 0)  # imports the event loop's backend
    Image.preinit()  # and the usual picture formats
    Emoji.replace("")  # and rich's table of emoji, for the first line of a log
    for planned in read_manifest().deployments:
        importlib.import_module(planned.entrypoint.rpartition(".")[0])
    for model in _models(BaseModel):
        model.model_rebuild(raise_errors=False)  # Prefect's put it off until they are used
    gc.collect()
    gc.freeze()  # the children share these pages until they write to them; a collection would write to all
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        print(READY, flush=True)
        server = Server(listener)
        request = server.serve()
        if request is None:
            return server.exit_code
        request.become()
    sys.modules.pop("prefect.engine", None)  # runpy warns of a module that it runs and that was imported before
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
