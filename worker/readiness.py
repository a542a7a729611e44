"""Holds runs back while their WebUI is not ready: they would only fail, and wait in the queue instead.

The WebUI of runs without a choice is asked all the time, another one before each run that names it and then, if it is
not ready, until it is or no run waits for it any more. It is not ready while it does not answer, while it is out of
memory for a small picture too, and while somebody else's job stands still there and a run of ours waits for it. Runs
under way are not touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from contextlib import closing
from typing import Any
from uuid import UUID

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.variables import Variable

from blocks.connection import WebUI, why_not_ready
from deployments.bootstrap import POOL
from gpu import canary
from gpu.lease import tickets
from webui.client import WebUIClient
from worker.events import Wakeup
from worker.notice import WEBUI_AWAY, WEBUI_BACK, tell

ASK_EVERY = 5.0  # seconds
ASK_AGAIN = 1.0  # seconds after a failure
FAILURES = 2  # in a row, so that one lost packet holds nothing
FIRST_ANSWER_WITHIN = 10.0  # seconds; recovery takes a run that is held up for longer for one without a process
UNWANTED_AFTER = 60.0  # seconds without a run that waits for it; the worker looks at the queue more often
STUCK_AFTER = 900.0  # seconds without any progress of somebody's job
CANARY_WITHIN = 120.0  # seconds for the small picture; the checkpoint may have to be loaded for it
CANARY_PAUSES = (5.0, 300.0)  # seconds before it is sent again: at first, then twice as long each time, at most
ON_HOLD, END_OF_REASON = "On hold, ", "\n\n"  # around the reasons in the pool's description
VARIABLE = "darkroom_on_hold"  # Prefect variable with the same reasons, as a list; absent while there is none

logger = logging.getLogger("darkroom.worker")


class Watched:
    """One WebUI; ``reference``: to its connection block, as runs' parameters have it; None: they have none."""

    def __init__(self, reference: Any = None) -> None:
        self.wanted = time.monotonic()  # when a run was last seen to wait for it
        self.found = ""  # why it is not ready, by the last looks
        self.told: str | None = None  # what of it was told last; what an earlier worker told may be out of date
        self._reference, self._address = reference, ""
        self._failures = FAILURES - 1  # the first answer decides: a restart does not forget that it is away
        self._canary_failed, self._canary_at, self._pause = "", 0.0, CANARY_PAUSES[0]  # monotonic clock; seconds
        self._position: tuple[object, ...] = ()  # of the job that runs there
        self._since = 0.0  # when it was first seen there, on the monotonic clock

    @property
    def reason(self) -> str:
        """Why no runs are started for it; empty: it is ready, or merely busy."""
        if not self.found and self._address and canary.is_marked(self._address):
            return f"{self._address} was out of memory, and a small picture is to show whether it still paints"
        return self.found

    def look(self) -> bool:
        """Ask it; returns whether it is well.

        Raises:
            Exception: Prefect did not tell where it is.
        """
        self.found = self._problem()
        return not self.found and not self._failures

    def _problem(self) -> str:
        try:
            # Prefect types it as awaitable, too.
            named: Any = self._reference and Block.load_from_ref(self._reference["$ref"])
            webui = WebUI.chosen(named)
        except (ValueError, KeyError, TypeError):  # no such WebUI is known: the run itself says what to do
            return ""
        self._address = webui.base_url
        with closing(webui.model_copy(update={"generation_timeout": CANARY_WITHIN}).get_client()) as client:
            away = why_not_ready(client)
            self._failures = self._failures + 1 if away else 0
            if away:
                return away if self.found or self._failures >= FAILURES else ""
            return self._stranger(client) or self._out_of_memory(client)

    def _stranger(self, client: WebUIClient) -> str:
        """Whether what runs there has stood still for too long, and the run of ours that has the GPU waits for it."""
        now = client.get_progress()
        position = (now.state.job_timestamp, now.state.job_no, now.state.sampling_step, now.progress) if now else ()
        if not position or position != self._position:
            self._position, self._since = position, time.monotonic()
        still = time.monotonic() - self._since
        if still < STUCK_AFTER or not any(_waits(holder.run) for holder in tickets(client.base_url)[:1]):
            return ""
        return (
            f"somebody's job at {client.base_url} has stood still for {still / 60:.0f} minutes, and a run waits for it."
            " It is not interrupted, for it is not ours: interrupt it on the WebUI's page, or restart the WebUI"
        )

    def _out_of_memory(self, client: WebUIClient) -> str:
        """After out of memory: whether a small picture fails, too. It is sent while nothing of ours is there."""
        if not canary.is_marked(client.base_url):
            self._pause, self._canary_failed = CANARY_PAUSES[0], ""
            return ""
        if time.monotonic() < self._canary_at or tickets(client.base_url) or client.get_progress():
            return self._canary_failed
        self._canary_failed = canary.try_out(client)
        if not self._canary_failed:
            logger.info("%s was out of memory, and paints a small picture: the queue goes on", client.base_url)
        self._canary_at, self._pause = time.monotonic() + self._pause, min(2 * self._pause, CANARY_PAUSES[1])
        return self._canary_failed


class Readiness:
    """Whether the WebUI of a run is ready."""

    def __init__(self) -> None:
        self._webuis = {"": Watched()}
        self._added = asyncio.Event()
        self._telling = asyncio.Lock()
        self.closed: str | None = None  # why the GPU hours let no run start; None: what was told last is not known

    @property
    def all_ready(self) -> bool:
        return not any(webui.reason for webui in self._webuis.values())

    def reason(self, parameters: dict[str, Any]) -> str:
        """Why a run with these parameters should not start now; empty: it may."""
        if (webui := self._webuis.get(_name(parameters))) is None:
            return ""
        webui.wanted = time.monotonic()
        return webui.reason

    async def ask(self, parameters: dict[str, Any]) -> str:
        """As ``reason``; a WebUI that is not asked all the time is asked now."""
        if (name := _name(parameters)) in self._webuis:
            return self.reason(parameters)
        webui = Watched(parameters["webui"])
        try:
            await asyncio.wait_for(asyncio.to_thread(webui.look), FIRST_ANSWER_WITHIN)
        except TimeoutError:
            webui.found = f"it did not answer in {FIRST_ANSWER_WITHIN:g} s"
        except Exception:  # Prefect is away, and the run says so itself
            return ""
        if webui.reason:
            self._webuis[name] = webui
            self._added.set()
        return webui.reason

    async def set_closed(self, reason: str) -> None:
        """Tell why the GPU hours let no run start, beside what the WebUIs do; empty: they are open."""
        self.closed = reason
        await self._describe()

    async def watch(self, wakeup: Wakeup) -> None:
        """Ask them all, each at its own pace, and notify the worker of each change; until cancelled."""
        asking: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                self._added.clear()
                for name, webui in self._webuis.items():
                    if name not in asking or asking[name].done():
                        asking[name] = asyncio.create_task(self._keep_asking(name, webui, wakeup))
                await self._added.wait()
        finally:
            for task in asking.values():
                task.cancel()

    async def _keep_asking(self, name: str, webui: Watched, wakeup: Wakeup) -> None:
        while True:
            before, well = webui.reason, True
            try:
                well = await asyncio.to_thread(webui.look)
                if webui.reason != before:
                    wakeup.notify(run_queued=True)
                if webui.found != webui.told:
                    await self._tell(webui)
                if name and (not webui.reason or time.monotonic() - webui.wanted > UNWANTED_AFTER):
                    self._webuis.pop(name, None)
                    return await self._describe()
            except Exception as error:  # Prefect is away
                logger.warning("whether a WebUI is ready could not be seen or told: %s", error)
            await asyncio.sleep(ASK_EVERY if well else ASK_AGAIN)

    async def _tell(self, webui: Watched) -> None:
        """In the pool's description, the variable, the log and a notice."""
        await self._describe()
        before, webui.told = webui.told, webui.found
        if webui.told:
            logger.warning("the WebUI is not ready, so no runs are started for it: %s", webui.told)
            if not before:  # else it is away still, and only the reason is another
                tell(WEBUI_AWAY, f"No runs are started for it until it is ready: {webui.told}")
        elif before:
            logger.warning("the WebUI is ready again")
            tell(WEBUI_BACK, "Runs are started again.")

    async def _describe(self) -> None:
        """Put the reasons before the pool's description, in place of earlier ones, and into the variable."""
        async with self._telling, get_client() as client:
            away = [webui.found[:500] for webui in self._webuis.values() if webui.found]
            reasons = [f"the WebUI is not ready: {reason}" for reason in away]
            reasons += [self.closed] if self.closed else []
            present = (await client.read_work_pool(POOL)).description or ""
            rest = present.partition(END_OF_REASON)[2] if present.startswith(ON_HOLD) else present
            wanted = f"{ON_HOLD}{'; '.join(reasons)}{END_OF_REASON}{rest}" if reasons else rest
            if wanted != present:
                await client.update_work_pool(POOL, WorkPoolUpdate(description=wanted))
                if reasons:
                    await Variable.aset(VARIABLE, reasons, overwrite=True)
                else:
                    await Variable.aunset(VARIABLE)


def _name(parameters: dict[str, Any]) -> str:
    """The same for two runs exactly if they name the same connection block."""
    chosen = parameters.get("webui")
    return json.dumps(chosen, sort_keys=True) if chosen else ""


def _waits(run: str) -> bool:
    """Whether the run waits, by its state: then it has sent nothing."""
    with contextlib.suppress(Exception), get_client(sync_client=True) as client:  # it may run without our Prefect
        state = client.read_flow_run(UUID(run)).state
        return state is not None and state.name == "Waiting"
    return False
