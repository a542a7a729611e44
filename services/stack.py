"""What a job needs around it: a Prefect server, a WebUI, the worker. Starts what is missing, stops what it started."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from services.environment import API, QUIET, configured_api, own_prefect, password, public_address, use
from services.part import Part, Say
from services.process import Child, ChildDied, free_port
from store.files import write_whole
from store.locks import Held, hold
from store.settings import settings

SERVER_PORT = 4200  # Prefect's own
WEBUI_PORT = 7861  # beside a real WebUI's 7860
GATEWAY_PORT = 7862
PORT_TRIES = 5  # another program may take a port between our look and the start on it
READY_WITHIN = 120.0  # seconds; the server's first start creates the database
CLOSED_WITHIN = 60.0  # seconds; each part gets 15 to end
READY_LINE = "darkroom worker: ready"


@dataclass
class Addresses:
    """Where the parts of a running stack are; kept in ``.darkroom/up.json``."""

    api_url: str = ""
    own_server: bool = False  # whether the Prefect server is one of the parts
    webui_url: str = ""
    gateway_url: str = ""
    embedded: str = ""  # the embedded WebUI's address, where we ever started one
    processes: list[tuple[int, float]] = field(default_factory=list)  # pid and time of creation
    closing: bool = False


class AlreadyUp(RuntimeError):
    """Another ``darkroom up`` has this project's stack."""


def running() -> Addresses | None:
    """The stack that is up for this project; None when there is none."""
    if (lock := _take_lock()) is not None:
        lock.release()
        return None
    return found if (found := last_addresses()) and not found.closing else None


def last_addresses() -> Addresses | None:
    """Where the last stack was, up or not."""
    try:
        return Addresses(**json.loads(_record().read_text()))
    except (OSError, ValueError, TypeError):
        return None


def find_prefect(say: Say) -> str | None:
    """Point this process at a Prefect API; returns its address, None where there is none.

    ``PREFECT_API_URL`` comes first, then a running ``darkroom up``, then what else Prefect reads (its profile, files).
    """
    if not os.environ.get(API) and (up := running()):
        use(own_prefect(up.api_url) if up.own_server else {API: up.api_url})
    elif configured_api(say) is None:
        return None
    use(QUIET)
    return os.environ[API]


class Stack:
    """Starts what is missing, keeps it alive, and stops it again; a context manager. ``say`` is told what a person
    should know, a line at a time; ``gateway``: the queue's API is one of the parts."""

    def __init__(self, say: Say, *, gateway: bool = False) -> None:
        self._say, self._has_gateway = say, gateway
        self.parts: list[Part] = []
        self.addresses = Addresses()
        self._lock: Held | None = None

    def __enter__(self) -> Stack:
        deadline = time.monotonic() + CLOSED_WITHIN
        while (lock := _take_lock()) is None:
            if running() is not None or time.monotonic() > deadline:
                raise AlreadyUp("darkroom is up already for this project: use it, or stop it first (Ctrl-C there)")
            time.sleep(0.1)  # the stack before this one is being stopped
        self._lock = lock
        try:
            before = last_addresses()
            _end_left_over(before, self._say)
            self.addresses.embedded = before.embedded if before else ""
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        configured = configured_api(self._say)
        if configured is None:
            if public := public_address():
                self._start_public_server(public)
            else:
                self._on_free_port("the Prefect server", SERVER_PORT, self._start_server)
        self.addresses.api_url, self.addresses.own_server = os.environ[API], configured is None
        # Only now: importing Prefect reads the environment.
        from prefect.client.orchestration import get_client

        from deployments.bootstrap import POOL, bootstrap, saved_webui, wait_for_api

        with get_client(sync_client=True) as client:
            wait_for_api(client)
        block = saved_webui()
        ours = (self.addresses.embedded, f"http://127.0.0.1:{WEBUI_PORT}")
        if settings().webui_url or (block is not None and block.base_url not in ours):
            bootstrap(say=self._say)
            self._ask_webui()
        else:
            self._on_free_port("the embedded WebUI", WEBUI_PORT, self._start_webui)
            bootstrap(self.addresses.webui_url, say=self._say)
        # Not left out where Prefect says that a worker is online: it says so for 90 s after one has gone.
        self._start("the worker", ["cli.app", "worker"], "worker.log", lambda child: READY_LINE in child.since_start())
        self._say(f"worker: waiting for runs in the pool {POOL}")
        if self._has_gateway:
            self._on_free_port("the gateway", GATEWAY_PORT, self._start_gateway)

    def _ask_webui(self) -> None:
        """Say so where the user's WebUI is not ready. It may be started later, so the rest is started."""
        from blocks.connection import WebUI, why_not_ready

        webui = WebUI.chosen(None)
        self.addresses.webui_url = webui.base_url
        if problem := why_not_ready(webui.get_client()):
            source = "DARKROOM_WEBUI_URL" if settings().webui_url else "the block webui/default"
            self._say(
                f"WebUI: {problem}\n  The address is from {source}. "
                "Start that WebUI, or give another address: darkroom up --webui http://host:7860"
            )

    def _on_free_port(self, name: str, preferred: int, start: Callable[[int], None]) -> None:
        """Start a part on its port, or on a free one where another program has it or takes it first."""
        for tries_left in reversed(range(PORT_TRIES)):
            port = free_port(preferred)
            if port != preferred:
                self._say(f"port {preferred} is taken: {name} gets {port}")
            try:
                return start(port)
            except ChildDied:
                if not tries_left or free_port(port) == port:
                    raise
                self.parts.pop()

    def _start_public_server(self, public: str) -> None:
        """The server for other machines; of ``https``, a program on this one takes care and passes requests on.

        Raises:
            ValueError: it has no password, or its port is taken: under another, nobody would find it.
        """
        if not password():
            raise ValueError(
                "DARKROOM_PUBLIC_ADDRESS needs a password, for who reaches Prefect's API can run any program as you: "
                "set PREFECT_SERVER_API_AUTH_STRING=user:password, in the environment of each darkroom command"
            )
        plain = public.startswith("http:")
        port = (urlsplit(public).port or 80) if plain else SERVER_PORT
        if free_port(port) != port:
            raise ValueError(f"DARKROOM_PUBLIC_ADDRESS={public}: the port {port} cannot be had. Which program has it?")
        self._start_server(port, "0.0.0.0" if plain else "127.0.0.1")

    def _start_server(self, port: int, host: str = "127.0.0.1") -> None:
        url = os.environ[API] = f"http://127.0.0.1:{port}/api"
        use(own_prefect(url))
        # It listens once it has started. Not a request: another program that took the port would answer as well.
        ready = partial(Child.listens_on, port=port)
        self._start("the Prefect server", server_on(port, host), "prefect-server.log", ready)

    def _start_webui(self, port: int) -> None:
        url = f"http://127.0.0.1:{port}"
        module = ["webui.embedded", "--port", str(port), "--folder", str(settings().home / "webui")]
        self._start("the embedded WebUI", module, "webui.log", lambda child: url in child.since_start())
        self.addresses.webui_url = self.addresses.embedded = url

    def _start_gateway(self, port: int) -> None:
        public, ready = urlsplit(public_address()), partial(Child.listens_on, port=port)
        host = "0.0.0.0" if public.scheme == "http" and self.addresses.own_server else "127.0.0.1"
        known = f"{public.scheme}://{public.hostname}" if public.hostname else "http://127.0.0.1"
        self.addresses.gateway_url = f"{known}:{port}"
        self._start("the gateway", server_on(port, host, "gateway.app"), "gateway.log", ready)

    def _start(self, name: str, module: list[str], log: str, ready: Callable[[Child], bool]) -> None:
        self.parts.append(Part(name, module, settings().home / "logs" / log))
        self._write()
        child = self.parts[-1].child
        child.wait_until(lambda: ready(child), READY_WITHIN)

    def watch(self, stop: threading.Event) -> None:
        """Keep the parts alive until ``stop`` is set."""
        while not stop.wait(0.5):
            self.keep_alive()

    def keep_alive(self) -> None:
        """One look at the parts: start again what has ended, when its pause is over."""
        for part in self.parts:
            try:
                if part.keep_alive(self._say):
                    self._write()
            except OSError as error:  # no memory, a full disk: the other parts stay up
                self._say(f"{part.name}: {error}")

    def close(self) -> None:
        """Stop the parts, the last one first: the worker still needs the server."""
        if self._lock is not None:
            self.addresses.closing = True
            self._write()
        for part in reversed(self.parts):
            part.stop()
        self.parts.clear()
        if self._lock is not None:
            self._write()
            self._lock.release()
            self._lock = None

    def _write(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            processes = [psutil.Process(part.child.pid) for part in self.parts]
            self.addresses.processes = [(process.pid, process.create_time()) for process in processes]
        write_whole(_record(), json.dumps(asdict(self.addresses)).encode())


def server_on(port: int, host: str = "127.0.0.1", application: str = "services.prefect_server") -> list[str]:
    """The module and its arguments that serve Prefect, or another ``application``, on a port of this machine, or with
    ``host`` 0.0.0.0 to others."""
    where = ["--host", host, "--port", str(port)]
    return ["uvicorn", "--factory", f"{application}:application", *where, "--no-access-log"]


def _take_lock() -> Held | None:
    path = settings().private_home() / "up.lock"
    path.touch()
    return hold(path, wait=False)


def _record() -> Path:
    return settings().home / "up.json"


def _end_left_over(before: Addresses | None, say: Say) -> None:
    """End the parts of a stack whose owner was killed before it could."""
    left: list[psutil.Process] = []
    for pid, created in before.processes if before else []:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 1:  # else the pid was given to another process
                say(f"ending process {pid}, left by a darkroom that was killed")
                left += [process, *process.children(recursive=True)]
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                stop(process)
        left = psutil.wait_procs(left, timeout=10)[1]
