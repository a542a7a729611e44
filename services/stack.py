"""What a job needs around it: a Prefect server, a WebUI, the worker. Starts what is missing, stops what it started."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from services.environment import API, own_prefect, use
from services.process import Child, free_port
from store.files import write_whole
from store.locks import Held, hold
from store.settings import settings

SERVER_PORT = 4200  # Prefect's own
WEBUI_PORT = 7861  # beside a real WebUI's 7860
SERVER_READY = 120.0  # seconds; the first start creates the database
WEBUI_READY = 60.0
WORKER_READY = 60.0
CLOSED_WITHIN = 60.0  # seconds; each part gets 15 to say goodbye
Say = Callable[[str], None]


@dataclass
class Addresses:
    """Where the parts of a running stack are; kept in ``.darkroom/up.json``."""

    pid: int
    api_url: str = ""
    webui_url: str = ""
    embedded: str = ""  # the embedded WebUI's address, where we ever started one
    processes: list[tuple[int, float]] = field(default_factory=list)  # pid and time of creation
    closing: bool = False

    @property
    def ui_url(self) -> str:
        return self.api_url.removesuffix("/api")


class AlreadyUp(RuntimeError):
    """Another ``darkroom up`` has this project's stack."""


def running() -> Addresses | None:
    """The stack that is up for this project; None when there is none."""
    lock = _take_lock()
    if lock is not None:
        lock.release()
        return None
    found = last_addresses()
    return None if found is None or found.closing else found


def last_addresses() -> Addresses | None:
    """Where the last stack was, up or not."""
    try:
        return Addresses(**json.loads(_record().read_text()))
    except (OSError, ValueError, TypeError):
        return None


class Stack:
    """Starts what is missing and stops it again; a context manager.

    Args:
        say: called with a line for each thing that a person should know.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self.children: list[Child] = []
        self.addresses = Addresses(os.getpid())
        self._lock: Held | None = None

    def __enter__(self) -> Stack:
        self._lock = _take_lock()
        deadline = time.monotonic() + CLOSED_WITHIN
        while self._lock is None and time.monotonic() < deadline and running() is None:
            time.sleep(0.1)  # the one before us is on its way out
            self._lock = _take_lock()
        if self._lock is None:
            raise AlreadyUp("darkroom is up already for this project: use it, or stop it first (Ctrl-C there)")
        try:
            before = last_addresses()
            _end_leftovers(before, self._say)
            self.addresses.embedded = before.embedded if before else ""
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        self._start_server()
        # Only now: importing Prefect reads the environment.
        from prefect.client.orchestration import get_client

        from deployments.bootstrap import bootstrap, saved_webui, wait_for_api

        with get_client(sync_client=True) as client:
            wait_for_api(client)
        block = saved_webui()
        if settings().webui_url:
            self.addresses.webui_url = settings().webui_url
            bootstrap(say=self._say)
        elif block is not None and block.base_url not in (self.addresses.embedded, f"http://127.0.0.1:{WEBUI_PORT}"):
            self.addresses.webui_url = block.base_url
            bootstrap(say=self._say)
        else:
            self._start_webui()
            bootstrap(self.addresses.webui_url, say=self._say)
        self._start_worker()
        self._write()

    def _start_server(self) -> None:
        if os.environ.get(API):
            self.addresses.api_url = os.environ[API]
            return
        port = free_port(SERVER_PORT)
        if port != SERVER_PORT:
            self._say(f"port {SERVER_PORT} is taken: Prefect gets {port}")
        self.addresses.api_url = f"http://127.0.0.1:{port}/api"
        use(own_prefect(self.addresses.api_url))
        server = self._start("the Prefect server", *server_on(port), log="prefect-server.log")
        # Whoever took the port after we looked would answer as well: it has to be ours.
        server.wait_until(lambda: server.listens_on(port) and _answers(f"{os.environ[API]}/health"), SERVER_READY)

    def _start_webui(self) -> None:
        port = free_port(WEBUI_PORT)
        if port != WEBUI_PORT:
            self._say(f"port {WEBUI_PORT} is taken: the embedded WebUI gets {port}")
        url = f"http://127.0.0.1:{port}"
        folder = str(settings().home / "webui")
        arguments = ["webui.embedded", "--port", str(port), "--folder", folder]
        child = self._start("the embedded WebUI", *arguments, log="webui.log")
        child.wait_until(lambda: url in child.since_start(), WEBUI_READY)
        self.addresses.webui_url = self.addresses.embedded = url

    def _start_worker(self) -> None:
        # Never left out because Prefect says that a worker is online: it says so for 90 s after one has gone.
        from deployments.bootstrap import POOL

        child = self._start("the worker", "cli.app", "worker", log="worker.log")
        child.wait_until(lambda: READY_LINE in child.since_start(), WORKER_READY)
        self._say(f"worker: waiting for runs in the pool {POOL}")

    def _start(self, name: str, *module: str, log: str) -> Child:
        child = Child(name, [sys.executable, "-m", *module], log=settings().home / "logs" / log, env=os.environ)
        self.children.append(child)
        self._write()
        return child

    def watch(self, stop: threading.Event) -> None:
        """Return when ``stop`` is set.

        Raises:
            ChildDied: a part ended by itself.
        """
        while not stop.wait(0.5):
            self.check()

    def check(self) -> None:
        """
        Raises:
            ChildDied: a part ended by itself.
        """
        for child in self.children:
            child.check()

    def close(self) -> None:
        """Stop the parts, the last one first: the worker says goodbye to the server."""
        if self._lock is not None:
            self.addresses.closing = True
            self._write()
        for child in reversed(self.children):
            child.stop()
        self.children.clear()
        if self._lock is not None:
            self.addresses.processes = []
            self._write()
            self._lock.release()
            self._lock = None

    def _write(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self.addresses.processes = [(child.pid, psutil.Process(child.pid).create_time()) for child in self.children]
        write_whole(_record(), json.dumps(asdict(self.addresses)).encode())


READY_LINE = "darkroom worker: ready"


def server_on(port: int) -> list[str]:
    """The module and its arguments that serve Prefect on a port of this machine."""
    application = "services.prefect_server:application"
    return ["uvicorn", "--factory", application, "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]


def _take_lock() -> Held | None:
    path = settings().home / "up.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return hold(path, wait=False)


def _record() -> Path:
    return settings().home / "up.json"


def _end_leftovers(before: Addresses | None, say: Say) -> None:
    """End the parts of a stack whose owner was killed before it could."""
    left = list(_living(before.processes)) if before else []
    for process in left:
        say(f"ending process {process.pid}, left by a darkroom that was killed")
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in process.children(recursive=True):
                left.append(child)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(left, timeout=10)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _living(processes: list[tuple[int, float]]) -> Iterator[psutil.Process]:
    for pid, created in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 1:  # else the number went to somebody else
                yield process


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
