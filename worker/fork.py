"""Keeps the fork server running, and says how to start a run through it.

A run's own process would import Prefect and the flows first, seconds on a small machine. The fork server has done
that: a run started by a fork of it is called warm, one started by a process of its own cold. While there is no fork
server, runs start cold.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

from prefect.settings import get_current_settings

from store.locks import hold
from worker.fork_server import READY_LINE
from worker.prefect_internals import ENGINE, WORKER_NAME
from worker.recovery import worker_name

SERVER = (sys.executable, "-m", "worker.fork_server")
COLD_START = shlex.join([sys.executable, "-m", ENGINE])
FOLDER = "darkroom-fork-"  # how the name of the socket's folder begins
READY_WITHIN = 60.0  # seconds from its start
PAUSES = (1.0, 60.0)  # seconds before it is started again: at first, then twice as long each time, at most
LONG_LIFE = 60.0  # seconds after which the pauses begin anew

logger = logging.getLogger("darkroom.worker")


class ForkServer:
    """The fork server of one worker."""

    def __init__(self) -> None:
        # Not in the project: a Unix socket's path has room for 107 characters. mkdtemp keeps others out.
        for lock in Path(tempfile.gettempdir()).glob(f"{FOLDER}*/lock"):
            if (dead := hold(lock, wait=False)) is not None:  # of a worker that was killed
                shutil.rmtree(lock.parent, ignore_errors=True)
                dead.release()
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        (self._folder / "lock").touch()
        self._lock = hold(self._folder / "lock")
        self._socket = self._folder / "socket"
        self.ready = asyncio.Event()

    @property
    def command(self) -> str:
        """How a run is started now."""
        if not self.ready.is_set():
            return COLD_START
        client = Path(__file__).with_name("fork_client.py")
        return shlex.join([sys.executable, "-I", "-S", str(client), str(self._socket), ENGINE])

    async def keep_running(self) -> None:
        """Start it, and start it again whenever it ends or does not become ready; until cancelled."""
        pause, longest = PAUSES
        try:
            while True:
                started = time.monotonic()
                await self._run_once()
                if time.monotonic() - started > LONG_LIFE:
                    pause = PAUSES[0]
                logger.info("the fork server ended; runs start cold until it is back, in %g s", pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _run_once(self) -> None:
        """From its start to its end."""
        self._socket.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *SERVER,
            str(self._socket),
            stdin=asyncio.subprocess.PIPE,  # closes when we end, by SIGKILL too
            stdout=asyncio.subprocess.PIPE,
            env=os.environ
            | get_current_settings().to_environment_variables(exclude_unset=True)
            | {WORKER_NAME: worker_name()},  # so that its forks can be told, see recovery
        )
        assert process.stdout is not None and process.stdin is not None
        try:
            async with asyncio.timeout(READY_WITHIN):
                while (line := await process.stdout.readline()) and line.decode().strip() != READY_LINE:
                    pass  # what a module printed at its import
            if line:
                self.ready.set()
                await process.wait()
        except TimeoutError:
            logger.warning("the fork server was not ready in %g s", READY_WITHIN)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        finally:
            self.ready.clear()
            process.stdin.close()
        await process.wait()
