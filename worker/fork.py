"""Keeps the warm process running, and says how to start a run through it.

A plain start of a run imports Prefect and the flows, seconds on a small machine. The warm process has done that, and
forks. Where there is no fork (Windows), or while there is no warm process, runs start cold.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

from prefect.settings import get_current_settings

from worker.fork_server import READY

COLD_START = shlex.join([sys.executable, "-m", "prefect.engine"])
SHORT_LIFE = 10.0  # seconds; one that ended sooner is not started again at once


class WarmStart:
    """The warm process of one worker. ``keep`` runs until it is cancelled."""

    def __init__(self) -> None:
        # Not in the project: a Unix socket's path has room for 107 characters. mkdtemp keeps others out.
        self._folder = Path(tempfile.mkdtemp(prefix="darkroom-warm-")) if hasattr(os, "fork") else None
        self.pid: int | None = None
        self.ready = asyncio.Event()

    @property
    def command(self) -> str:
        """How a run is started now."""
        if self._folder is None or not self.ready.is_set():
            return COLD_START
        client = str(Path(__file__).with_name("fork_client.py"))
        return shlex.join([sys.executable, "-I", "-S", client, str(self._socket)])

    @property
    def _socket(self) -> Path:
        assert self._folder is not None
        return self._folder / "socket"

    async def keep(self) -> None:
        """Start the warm process, and start it again whenever it ends."""
        if self._folder is None:
            return
        try:
            while True:
                started = time.monotonic()
                await self._live()
                if time.monotonic() - started < SHORT_LIFE:
                    await asyncio.sleep(SHORT_LIFE)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _live(self) -> None:
        """One life of the warm process."""
        self._socket.unlink(missing_ok=True)
        environment = os.environ | get_current_settings().to_environment_variables(exclude_unset=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "worker.fork_server",
            str(self._socket),
            stdin=asyncio.subprocess.PIPE,  # closes when we end, by SIGKILL too
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        assert process.stdout is not None and process.stdin is not None
        self.pid = process.pid
        try:
            line = await process.stdout.readline()
            if line.decode().strip() == READY:
                self.ready.set()
            await process.wait()
        finally:
            self.ready.clear()
            self.pid = None
            process.stdin.close()
