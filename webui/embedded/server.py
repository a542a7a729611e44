"""The embedded WebUI as a server: a real socket on loopback, uvicorn in a thread of its own.

with EmbeddedWebUI() as webui:
    requests.post(f"{webui.url}/sdapi/v1/txt2img", json={"prompt": "a lighthouse", "steps": 8})
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from webui.embedded.adetailer import setup_adetailer_api
from webui.embedded.api import Api
from webui.embedded.asgi import App, Message, Receive, Scope, Send, read_body, replay, with_transport
from webui.embedded.engine import Engine
from webui.embedded.failures import AnswerFailures, answer_invalid
from webui.embedded.received import Received
from webui.embedded.scripts import Scripts


class PortInUse(OSError):
    """Another program answers on the port that was asked for."""


class EmbeddedWebUI:
    """A WebUI of our own (a stand-in painter, not Stable Diffusion), running between start and stop.

    port: 0 takes a free one; None does too and counts as started without --port.
    folder: where models, styles and config.json live, made and filled where it is missing; None: temporary.
    api_auth: "user:password", several with commas.
    step_time: seconds that a sampling step takes (0: as long as it needs). load_time: seconds that a checkpoint
    takes to load.
    faults: serve /faults, which arms failures on demand.
    nowebui: no /internal/* routes, as with --nowebui.
    job_log: a file that gets one JSON line for each job.
    startup_time: seconds after the port opens in which every route answers 404, as a real one does while it starts.
    forge: False for AUTOMATIC1111's ways where they differ.
    can_stop: serve server-stop, -kill and -restart, as with --api-server-stop.
    on_restart: what server-restart calls to start the process anew; never returns. Without it the answer is 501.

    Raises PortInUse from start. In-process tests read `state`, `tasks`, `job_queue` and drive `steps`;
    `requests` lists what was asked.
    """

    def __init__(
        self,
        *,
        port: int | None = 0,
        host: str = "127.0.0.1",
        folder: Path | None = None,
        api_auth: str | None = None,
        step_time: float = 0.0,
        load_time: float = 0.0,
        faults: bool = False,
        nowebui: bool = False,
        job_log: Path | None = None,
        forge: bool = True,
        can_stop: bool = False,
        startup_time: float = 0.0,
        on_restart: Callable[[], NoReturn] | None = None,
    ) -> None:
        self.host = host
        self._asked_port = port
        self._temporary = Path(tempfile.mkdtemp(prefix="embedded-webui-")) if folder is None else None
        self.folder = folder or self._temporary or Path()
        self._api_auth = api_auth
        self._nowebui = nowebui
        self._can_stop = can_stop
        self._startup_time = startup_time
        self._ready_at = 0.0  # time.monotonic seconds
        self._on_restart = on_restart
        self.engine = Engine(
            self.folder,
            step_time=step_time,
            load_time=load_time,
            job_log=job_log,
            forge=forge,
            with_faults=faults,
        )
        self.state = self.engine.state
        self.tasks = self.engine.tasks
        self.job_queue = self.engine.job_queue
        self.steps = self.engine.steps
        self.options = self.engine.options
        self.faults = self.engine.faults
        self.requests = Received()
        self.app: FastAPI | None = None
        self.port = 0
        self._uvicorn: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> EmbeddedWebUI:
        """Return when it answers (with 404 on every route for `startup_time`)."""
        self._socket = self._bind()
        self.port = self._socket.getsockname()[1]
        self._ready_at = time.monotonic() + self._startup_time
        config = uvicorn.Config(
            self._build(),
            log_level="warning",
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._uvicorn.run, kwargs={"sockets": [self._socket]}, name="embedded-webui", daemon=True
        )
        self._thread.start()
        deadline = threading.Event()
        while not self._uvicorn.started:
            if not self._thread.is_alive():
                raise RuntimeError("the embedded WebUI ended while it started; see the log")
            deadline.wait(0.005)
        threading.Thread(target=self._obey, name="embedded-webui-commands", daemon=True).start()
        threading.Thread(target=_warm_up, name="embedded-webui-warm-up", daemon=True).start()
        return self

    def _bind(self) -> socket.socket:
        # asyncio turns Nagle's algorithm off only where the protocol is named: 40 ms on every answer otherwise
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((self.host, self._asked_port or 0))
        except OSError as error:
            bound.close()
            raise PortInUse(
                f"port {self._asked_port} on {self.host} can't be opened ({error.strerror}): "
                "end what uses it, or choose another with --port"
            ) from error
        bound.listen(2048)
        return bound

    def stop(self) -> None:
        """Close the port, end running jobs at their next step, remove a temporary folder."""
        self.state.interrupt()
        if self.faults:
            self.faults.disarm()
        self.steps.step_time = 0.0
        self.steps.release()
        if self._uvicorn and self._thread:
            self._uvicorn.should_exit = True
            self._thread.join(10)
            if self._thread.is_alive():
                self._uvicorn.force_exit = True
                self._thread.join(5)
        if self._socket:
            self._socket.close()
        self.state.server_command = "ended"
        self.job_queue.wait_until_idle(5)
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def wait_until_stopped(self, timeout: float) -> bool:
        """Wait until the port is closed by a command over the API; False after `timeout` seconds."""
        if self._thread:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _obey(self) -> None:
        """A stop or kill that came over the API closes the port; the process lives on (recorded)."""
        while (command := self.state.wait_for_server_command()) != "ended":
            if command in ("stop", "kill") and self._uvicorn:
                self._uvicorn.should_exit = True

    def __enter__(self) -> EmbeddedWebUI:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def wait_until_idle(self, timeout: float = 30.0) -> bool:
        """Wait until no job runs or waits; False if some still does after `timeout` seconds."""
        return self.job_queue.wait_until_idle(timeout)

    # -- the application ---------------------------------------------------------------------------------

    def _build(self) -> App:
        app = FastAPI(strict_content_type=False)
        app.add_exception_handler(RequestValidationError, answer_invalid)
        app.add_middleware(AnswerFailures)
        scripts = Scripts()
        api = Api(
            self.engine,
            port=None if self._asked_port is None else self.port,
            api_auth=self._api_auth,
            can_stop=self._can_stop,
            on_restart=self._on_restart,
        )
        api.add_routes(app, scripts)
        if not self._nowebui:
            self.tasks.setup_progress_api(app)
            api.add_page_routes(app)
        setup_adetailer_api(app, scripts)
        if self.faults:
            self.faults.add_routes(app)
        self.app = app
        # Noted first: a request that a fault answers was asked all the same.
        return with_transport(self._noting(self.faults.around(app) if self.faults else app))

    def _noting(self, app: App) -> App:
        """Note each request, then serve it; close the connection after a 500, as a real one does (seen)."""

        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            body = b"" if scope["method"] in ("GET", "HEAD") else await read_body(receive)
            self.requests.note(scope["method"], scope["path"], body)
            if time.monotonic() < self._ready_at and not scope["path"].startswith("/faults"):
                await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)
                return
            failed = False

            async def watched(message: Message) -> None:
                nonlocal failed
                failed = failed or message.get("status") == 500
                await send(message)

            await app(scope, replay(body, receive), watched)
            if failed:
                scope["transport"].close()

        return noting


def _warm_up() -> None:
    """The painter's imports, off the first job's time."""
    import webui.embedded.painter  # noqa: F401  # only to have it imported
