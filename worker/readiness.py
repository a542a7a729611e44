"""Holds the worker while the WebUI is not ready: runs that would only fail wait in the queue instead.

It asks the WebUI that a run without another choice uses, and holds the whole pool. Runs under way are not touched.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate

from blocks.connection import WebUI, why_not_ready
from deployments.bootstrap import POOL
from worker.events import Wakeup
from worker.notice import WEBUI_AWAY, WEBUI_BACK, tell
from worker.worker import DarkroomWorker

ASK_EVERY = 5.0  # seconds
ASK_AGAIN = 1.0  # seconds after a failure
FAILURES = 2  # in a row, so that one lost packet holds nothing
ON_HOLD, END_OF_REASON = "On hold, the WebUI is not ready: ", "\n\n"  # around the reason in the pool's description

logger = logging.getLogger("darkroom.worker")


def problem() -> str:
    """Why the WebUI could not paint now; empty: it could, it is merely busy, or there is none to ask."""
    try:
        with closing(WebUI.chosen(None).get_client()) as client:
            return why_not_ready(client)
    except ValueError:  # no WebUI is known: the run itself says what to do
        return ""


async def watch_webui(worker: DarkroomWorker, wakeup: Wakeup) -> None:
    """Hold the worker while the WebUI is not ready; until cancelled. Log and the pool's description say why."""
    failures = FAILURES - 1  # the first answer decides: a restart does not forget that the WebUI is away
    told: str | None = None
    while True:
        reason = await asyncio.to_thread(problem)
        failures = failures + 1 if reason else 0
        if not failures or failures >= FAILURES:
            worker.on_hold = reason
        if worker.on_hold != told:
            await _describe(worker.on_hold)
            if worker.on_hold:
                logger.warning("the WebUI is not ready, so no runs are started: %s", worker.on_hold)
                if not told:  # else it is away still, and only the reason is another
                    tell(WEBUI_AWAY, f"No runs are started until it is ready: {worker.on_hold}")
            elif told:
                logger.warning("the WebUI is ready again")
                tell(WEBUI_BACK, "Runs are started again.")
            told = worker.on_hold
            wakeup.notify(run_queued=True)
        await asyncio.sleep(ASK_AGAIN if reason else ASK_EVERY)


async def _describe(reason: str) -> None:
    """Put the reason before the pool's description, in place of an earlier one."""
    async with get_client() as client:
        present = (await client.read_work_pool(POOL)).description or ""
        rest = present.partition(END_OF_REASON)[2] if present.startswith(ON_HOLD) else present
        wanted = f"{ON_HOLD}{reason[:500]}{END_OF_REASON}{rest}" if reason else rest
        if wanted != present:
            await client.update_work_pool(POOL, WorkPoolUpdate(description=wanted))
