"""The test stand: a Prefect server, embedded WebUIs and workers in a temporary folder, all gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from bench.api import Api
from bench.job_log import JobLog
from bench.peers import picture
from services.environment import SERVER
from services.process import Child, free_port
from services.stack import server_on
from webui.embedded.checkpoints import write_checkpoint

PROJECT = Path(__file__).resolve().parents[1]
STEP = 0.05  # seconds a sampling step takes on the bench's WebUI
FAST_POLLING = 0.5  # seconds; facts: faster polling slows the server down (SQLite has one writer)
SERVER_WITHIN = 120.0  # seconds
WORKER_WITHIN = 90.0
WORKER_READY = "darkroom worker: ready"
STOCK_READY = "started!"
STOCK_POOL, POOL = "stock", "gpu"
Say = Callable[[str], None]


@dataclass
class MeasuredWebUI:
    """An embedded WebUI under test: where it is, and its own clock."""

    url: str
    log: JobLog

    def warm_up(self, checkpoint: str = "photo") -> None:
        """Paint once, so that the checkpoint is loaded and no switch distorts what is measured."""
        requests.post(f"{self.url}/sdapi/v1/txt2img", json=picture(1, side=64, checkpoint=checkpoint), timeout=60)


class Rig:
    """Starts what a figure needs; a context manager that leaves nothing running and no file behind."""

    def __init__(self, say: Say = print) -> None:
        self.say = say
        self.folder = Path(tempfile.mkdtemp(prefix="dr-bench-"))  # short: a Unix socket's path holds 107 bytes
        self.gallery = self.folder / "gallery"
        self.pictures = self.folder / "pictures"
        self.pictures.mkdir()
        (self.folder / "tmp").mkdir()
        self._stack = contextlib.ExitStack()
        self._server: Child | None = None
        self._deployed = False
        self.port = free_port(0)
        self.api = Api(f"http://127.0.0.1:{self.port}/api")

    def __enter__(self) -> Rig:
        try:
            self.start_server()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()
        self.stop_server()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self, **more: str) -> dict[str, str]:
        """What every process of the bench gets: nothing of the user's Prefect, everything in the temporary folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DARKROOM_"))}
        return kept | {
            "PREFECT_API_URL": self.api.url,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_LOGGING_LEVEL": "INFO",
            "DARKROOM_HOME": str(self.folder / "home"),
            "DARKROOM_GALLERY": str(self.gallery),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": str(PROJECT),
            **more,
        }

    # -- Prefect -----------------------------------------------------------------------------------------

    @property
    def database(self) -> Path:
        return self.folder / "prefect" / "prefect.db"

    def start_server(self) -> None:
        self._server = self._child("prefect-server", *server_on(self.port), environment=SERVER)
        self._server.wait_until(self._answers, SERVER_WITHIN)

    def stop_server(self) -> None:
        if self._server is not None:
            _stop(self._server)
            self._server = None

    def _answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return bool(self.api.get("/health"))
        return False

    # -- WebUIs ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def webui(
        self, *, step_time: float = STEP, load_time: float = 0.0, checkpoints: tuple[str, ...] = ()
    ) -> Iterator[MeasuredWebUI]:
        """An embedded WebUI. ``checkpoints``: names of those that it has; empty: its own four."""
        port = free_port(0)
        folder = self.folder / f"webui-{port}"
        for name in checkpoints:
            write_checkpoint(folder / "models" / "Stable-diffusion" / f"{name}.safetensors")
        log = folder / "jobs.jsonl"
        arguments = ["--port", str(port), "--folder", str(folder), "--job-log", str(log)]
        arguments += ["--step-time", str(step_time), "--load-time", str(load_time)]
        child = self._child(f"webui-{port}", "webui.embedded", *arguments)
        try:
            webui = MeasuredWebUI(f"http://127.0.0.1:{port}", JobLog(log))
            child.wait_until(lambda: webui.url in child.since_start(), 60)
            yield webui
        finally:
            _stop(child)

    # -- workers -----------------------------------------------------------------------------------------

    def deploy(self, webui: MeasuredWebUI) -> None:
        """``darkroom deploy``, once: pool, blocks and deployments."""
        if self._deployed:
            return
        child = self._child("deploy", "cli.app", "deploy", environment=self._darkroom(webui, lookahead=False))
        try:
            while child.alive:
                time.sleep(0.05)
            if "knows everything" not in child.since_start():
                raise RuntimeError(f"darkroom deploy failed: {child.since_start()[-2000:]}")
        finally:
            _stop(child)
        self._deployed = True

    @contextlib.contextmanager
    def worker(self, webui: MeasuredWebUI, *, lookahead: bool = False, **environment: str) -> Iterator[Child]:
        """``darkroom worker``, ready, with the pool's limit as look-ahead asks for: 2, else 1."""
        self.deploy(webui)
        self.api.patch(f"/work_pools/{POOL}", concurrency_limit=2 if lookahead else 1)
        settings = self._darkroom(webui, lookahead) | environment
        with self._working("worker", WORKER_READY, "cli.app", "worker", environment=settings) as child:
            yield child

    @contextlib.contextmanager
    def gateway(self, webui: MeasuredWebUI) -> Iterator[str]:
        """The queue's address."""
        self.deploy(webui)
        port = free_port(0)
        arguments = ["gateway.app:application", "--factory", "--host", "127.0.0.1", "--port", str(port)]
        settings = self._darkroom(webui, lookahead=False)
        child = self._child("gateway", "uvicorn", *arguments, "--no-access-log", environment=settings)
        try:
            child.wait_until(lambda: child.listens_on(port), WORKER_WITHIN)
            yield f"http://127.0.0.1:{port}"
        finally:
            _stop(child)

    def _darkroom(self, webui: MeasuredWebUI, lookahead: bool) -> dict[str, str]:
        return {"DARKROOM_WEBUI_URL": webui.url, "DARKROOM_LOOKAHEAD": "1" if lookahead else "0"}

    @contextlib.contextmanager
    def stock_worker(self, *, polling: float | None = None) -> Iterator[Child]:
        """``prefect worker start`` as it is, on a process pool with limit 1.

        ``polling``: seconds (PREFECT_WORKER_QUERY_SECONDS); None: its default, 10.
        """
        try:
            self.api.get(f"/work_pools/{STOCK_POOL}")
        except RuntimeError:
            self.api.post("/work_pools/", name=STOCK_POOL, type="process", concurrency_limit=1)
        settings = {} if polling is None else {"PREFECT_WORKER_QUERY_SECONDS": str(polling)}
        command = ["prefect", "worker", "start", "--pool", STOCK_POOL, "--type", "process"]
        with self._working("stock-worker", STOCK_READY, *command, environment=settings) as child:
            yield child

    @contextlib.contextmanager
    def _working(self, name: str, ready: str, *module: str, environment: Mapping[str, str]) -> Iterator[Child]:
        child = self._child(name, *module, environment=environment)
        try:
            child.wait_until(lambda: ready in child.since_start(), WORKER_WITHIN)
            yield child
        finally:
            _stop(child)

    def _child(self, name: str, *module: str, environment: Mapping[str, str] | None = None) -> Child:
        command = [sys.executable, "-m", *module]
        return Child(name, command, log=self.folder / "logs" / f"{name}.log", env=self.environment(**environment or {}))


def family(child: Child) -> list[psutil.Process]:
    """A child and all that it started, in whatever group."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(child.pid)
        return [process, *process.children(recursive=True)]
    return []


def _stop(child: Child) -> None:
    """Stop a child, and whatever of its descendants outlives it."""
    members = family(child)
    child.stop()
    for left in psutil.wait_procs(members, timeout=2)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
