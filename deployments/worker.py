"""``darkroom worker``: runs what the pool hands out, and owns what must outlive a run."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from typing import Any

from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from deployments.bootstrap import POOL
from deployments.house import READY_LINE

COLD_START = shlex.join([sys.executable, "-m", "prefect.engine"])


class Configuration(ProcessJobConfiguration):
    """How a run is started on this host, unless its deployment's own ``command`` says otherwise.

    Without a command Prefect would prepare a workspace for each run, which the installed project has no use for.
    """

    def prepare_for_flow_run(self, *args: Any, **kwargs: Any) -> None:
        self.command = self.command or COLD_START
        super().prepare_for_flow_run(*args, **kwargs)


class DarkroomWorker(ProcessWorker):
    """Prefect's process worker with our way to start a process."""

    type = "process"
    job_configuration = Configuration


async def supervise() -> None:
    """Run until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    me = asyncio.current_task()
    assert me is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, me.cancel)
    worker = DarkroomWorker(work_pool_name=POOL, create_pool_if_not_found=False)
    await worker.start(printer=lambda *_: print(READY_LINE, flush=True))


def main() -> int:
    try:
        asyncio.run(supervise())
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 0
    return 0
