"""What the night's proof needs of a running `darkroom up`: parts that can be killed, a WebUI that can go and come back,
a record of what was painted when, and a look at what is left behind.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from gpu.lease import tickets
from tests.rest import FINAL, left_by
from tests.up import Up
from tests.waiting import until
from webui.embedded.faults import ErrorAnswer
from webui.embedded.received import Received
from webui.embedded.server import EmbeddedWebUI

STAGES = ("txt2img", "img2img", "adetailer", "upscale")
STANDS = 12.0  # seconds for which a final state must stand before it is believed: a dead run may be taken up again
WITHIN = 150.0  # seconds in which a run of a few small pictures must have ended, whatever befell it
# What tells the processes of a `darkroom up` apart, in their command lines.
SERVER, WORKER, FORK_SERVER = "prefect_server", "cli.app worker", "fork_server"


@dataclass(frozen=True)
class Asked:
    """A generation that the WebUI was asked for, at ``at`` on the monotonic clock."""

    at: float
    stage: str
    task: str  # the request's own id; an upscale has none
    run: str  # the first eight characters of the run's id

    @property
    def is_load(self) -> bool:
        """A request that only loads a checkpoint."""
        return "-checkpoint-" in self.task


class Requests(Received):
    """What the WebUI was asked for, over all its lives. ``deaf``: it answers everything with an error.

    An upscale does not name its run: it is of the run that asked for the same picture before, or that asked last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self._upscales: dict[int, str] = {}  # the run, by the hash of the request's body
        self.new: queue.SimpleQueue[Asked] = queue.SimpleQueue()
        self.deaf = False

    def note(self, method: str, path: str, body: bytes) -> None:
        super().note(method, path, body)
        if self.deaf or not path.endswith(("2img", "extra-single-image")):
            return
        task = self[-1][2] or ""
        ours = task.startswith("task(darkroom-")
        if not ours and path.endswith("2img"):
            return  # a stranger's
        parts = task.split("-")
        last = self.asked[-1].run if self.asked else ""
        run = parts[1] if ours else self._upscales.setdefault(hash(body), last)
        self.asked.append(Asked(time.monotonic(), parts[2] if ours else "upscale", task, run))
        self.new.put(self.asked[-1])


@dataclass
class Night(Up):
    """A running `darkroom up` at a WebUI on a fixed port."""

    requests: Requests = field(default_factory=Requests)
    webui_is_away: bool = False

    @classmethod
    def at_home(cls, home: Path, *, step_time: float = 0.0) -> Night:
        """With everything that it keeps under ``home``; the WebUI answers already."""
        requests_ = Requests()
        webui = _webui(home / "webui", 0, requests_, step_time)
        return cls(home, webui.start(), requests=requests_)

    # -- the WebUI ---------------------------------------------------------------------------------------

    def break_connections(self) -> None:
        """Reset every connection to the WebUI, which paints on, as when a network or a proxy fails."""
        server = self.webui._uvicorn  # there is no other way to the connections of a running uvicorn
        assert server is not None
        for connection in list(server.server_state.connections):
            connection.loop.call_soon_threadsafe(connection.transport.abort)

    def webui_dies(self) -> None:
        """The port closes and what it painted is lost, as when its process is killed."""
        self.webui_is_away = True
        self.break_connections()
        self.webui.stop()

    def webui_returns(self, *, starting: float = 0.0) -> None:
        """It is started again on the same port; for ``starting`` seconds its routes answer 404, as a Forge's do."""
        step_time = self.webui.steps.step_time
        self.webui = _webui(self.home / "webui", self.webui.port, self.requests, step_time)
        assert self.webui.faults
        number = None
        if starting:
            self.requests.deaf = True
            fault = ErrorAnswer(kind="error", status=404, body={"detail": "Not Found"}, path="*", times=None)
            number = self.webui.faults.arm(fault)
        self.webui.start()
        self.webui_is_away = False
        if number is not None:
            pause(starting)
            self.webui.faults.disarm(number)
            self.requests.deaf = False

    # -- processes ---------------------------------------------------------------------------------------

    def part(self, words: str) -> psutil.Process | None:
        """The process of this stack with ``words`` in its command line, the oldest one."""
        found = [process for process in self.family() if words in _command(process)]
        return min(found, key=lambda process: process.create_time(), default=None)

    def run_process(self) -> psutil.Process | None:
        """The process in which the flow run on the GPU lives: forked, or started by Prefect's own command."""
        fork_server = self.part(FORK_SERVER)
        with suppress(psutil.Error):
            forked = fork_server.children() if fork_server else []
            return forked[0] if forked else self.part("prefect.engine")
        return None

    def family(self) -> list[psutil.Process]:
        """Everything that this `darkroom up` has started and that lives."""
        if not self.alive:
            return []
        assert self.process is not None
        with suppress(psutil.Error):
            return [one for one in psutil.Process(self.process.pid).children(recursive=True) if _lives(one)]
        return []

    def strays(self) -> list[psutil.Process]:
        """Processes that work in this home and that no running `darkroom up` answers for."""
        known = {process.pid for process in self.family()} | ({self.process.pid} if self.process else set())
        return [process for process in left_by(self.home) if process.pid not in known]

    def close(self) -> None:
        """Stop everything, with whatever a fault left."""
        try:
            self.end()
        finally:
            for process in self.strays():
                with suppress(psutil.Error):
                    process.kill()
            self.webui.stop()

    # -- runs --------------------------------------------------------------------------------------------

    def settled(self, run: str, *, finals: tuple[str, ...] = ("COMPLETED",), within: float = WITHIN) -> dict[str, Any]:
        """The run when it is Completed or in a state type of ``finals``, or in another final one that stands.

        Raises:
            AssertionError: it still has no final state after so many seconds, or `darkroom up` has ended.
        """
        since: dict[str, float] = {}

        def look() -> dict[str, Any] | None:
            assert self.alive, f"darkroom up has ended: {self.last_words()}"
            found = self.run(run)
            kind = found["state_type"]
            if kind in ("COMPLETED", *finals):
                return found
            if kind not in FINAL:
                since.clear()
                return None
            first = since.setdefault(found["state_id"], time.monotonic())
            return found if time.monotonic() - first > STANDS else None

        try:
            return until("the run ends", look, within)
        except AssertionError as error:
            if not self.alive:
                raise
            state = self.run(run)["state"]
            raise AssertionError(f"{error}; it is {state['name']}: {state['message']}") from None

    def is_painting(self, run: str, stage: str, number: int, *, step: int = 1) -> None:
        """Wait until the run has asked for its picture ``number`` of a stage, and ``step`` steps of it are done.

        And until the pictures before it are on disk: a request goes out before the last answer is put away, and a
        process that dies in those hundredths of a second loses that picture as well. Pictures count from 1; 0 waits
        for nothing.
        """
        if not number:
            return
        until(f"{stage} {number} is asked for", lambda: len(self.asked_by(run, stage)) >= number)
        folder = self.home / "runs" / run
        until(
            f"those before {stage} {number} are kept", lambda: len(list(folder.glob(f"{stage}-*.json"))) >= number - 1
        )
        task = self.asked_by(run, stage)[number - 1].task
        if task and step:
            until(
                f"{step} steps of {task} are done",
                lambda: self.webui.tasks.current == task and self.webui.state.sampling_step >= step,
            )

    def asked_by(self, run: str, stage: str | None = None) -> list[Asked]:
        """The pictures that a run has asked for, loads of checkpoints left out."""
        return [
            one
            for one in list(self.requests.asked)
            if one.run == run[:8] and stage in (None, one.stage) and not one.is_load
        ]

    def published(self, job: str) -> list[str]:
        """The names of a job's pictures in the gallery."""
        return sorted(path.name for path in self.gallery.rglob(f"{job}-*.png"))

    # -- what is left ------------------------------------------------------------------------------------

    def left_behind(self) -> list[str]:
        """What should be gone once no run is under way, in words; empty: nothing."""
        found = [f"a process without owner: {_command(one)}" for one in self.strays()]
        found += [f"a process of a run: {_command(one)}" for one in self.family() if "prefect.engine" in _command(one)]
        if (run := self.run_process()) is not None:
            found.append(f"a process of a run: {run.pid}")
        found += [f"a lease of the run {ticket.name}" for ticket in tickets(self.webui.url)]
        found += [f"a note of a job in flight: {note.name}" for note in (self.home / "inflight").glob("*")]
        if self.webui.state.job_count:
            found.append(f"a job at the WebUI: {self.webui.tasks.current}")
        return found


@contextmanager
def folder_is_away(folder: Path) -> Iterator[None]:
    """Nothing can be written into a folder, not even by root: a plain file stands in its place."""
    aside = folder.with_name(f"{folder.name}-aside")
    folder.rename(aside)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


def pause(seconds: float) -> None:
    """How long a fault lasts; nothing is waited for."""
    threading.Event().wait(seconds)


def _webui(folder: Path, port: int, requests_: Requests, step_time: float) -> EmbeddedWebUI:
    webui = EmbeddedWebUI(port=port, folder=folder, faults=True, step_time=step_time, can_stop=True)
    webui.requests = requests_
    return webui


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
