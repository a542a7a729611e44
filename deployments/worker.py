"""``darkroom worker``: the one process that outlives runs.

It is Prefect's process worker, and around it what has to be there while no run is: waking at once, the warm process,
the recovery of what died. One module each; this one only ties them together.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, cast
from uuid import UUID

import psutil
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from deployments import recovery
from deployments.bootstrap import POOL
from deployments.house import READY_LINE
from deployments.planner import Planner
from deployments.wake import News, Wake, listen
from deployments.warm import COLD_START, WarmStart

AGAIN = 0.25  # seconds; an event may come before what it tells of can be seen
MOMENT = 0.5  # seconds
QUIET = 1.0  # seconds after something was started: another look would take the server's time from its way to the GPU
PLAN_AFTER = 1.0  # seconds: planning asks the server a lot, and what was just started comes first
PLAN_EVERY = 10.0  # seconds, should Prefect's events not tell of something
GOODBYE = 8.0  # seconds for a run to interrupt its WebUI and end; whoever stops us waits longer than that
TRY_AGAIN = 5.0  # seconds after a duty failed

# Where a run's process finds its flow, as Prefect's own runner tells it. Without it each run asks the server for the
# deployment that the worker has just read. It is not documented, so a test sees whether Prefect still reads it.
ENTRYPOINT = "PREFECT__FLOW_ENTRYPOINT"
COLD = "DARKROOM_COLD_START"  # environment variable; 1: no warm process

logger = logging.getLogger("darkroom.worker")


class Configuration(ProcessJobConfiguration):
    """How a run is started on this host, unless its deployment's own ``command`` says otherwise.

    Without a command Prefect would prepare a workspace for each run, which the installed project has no use for.
    """

    start: ClassVar[Callable[[], str]] = staticmethod(lambda: COLD_START)

    def prepare_for_flow_run(
        self, flow_run: FlowRun, deployment: DeploymentResponse | None = None, *args: Any, **kwargs: Any
    ) -> None:
        self.command = self.command or type(self).start()
        super().prepare_for_flow_run(flow_run, deployment, *args, **kwargs)
        if deployment is not None and is_installed(deployment):
            self.env[ENTRYPOINT] = deployment.entrypoint


def is_installed(deployment: DeploymentResponse) -> bool:
    """Whether the flow is a module of what is installed, and nothing has to be fetched before it can be imported."""
    return bool(deployment.entrypoint) and ":" not in str(deployment.entrypoint) and not deployment.pull_steps


# Prefect warns that this takes the place of its own worker of that type in this process; so it should.
warnings.filterwarnings("ignore", message="Type 'DarkroomWorker'")


class Remembering:
    """Prefect's client, not asked twice within a moment for the same deployment, as Prefect's worker does to start a
    run. It is a moment, so nothing that a user changes comes late."""

    def __init__(self, client: PrefectClient) -> None:
        self.client = client
        self._known: dict[UUID, tuple[float, DeploymentResponse]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    async def read_deployment(self, deployment_id: UUID) -> DeploymentResponse:
        now = time.monotonic()
        self._known = {key: known for key, known in self._known.items() if now - known[0] < MOMENT}
        if deployment_id not in self._known:
            self._known[deployment_id] = (now, await self.client.read_deployment(deployment_id))
        return self._known[deployment_id][1]


class DarkroomWorker(ProcessWorker):
    """Prefect's process worker with our way to start a process, and one hand-out at a time."""

    type = "process"
    job_configuration = Configuration

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn = asyncio.Lock()
        self._planner: Planner | None = None
        self._started: list[FlowRun] = []  # since the last plan
        self.unplanned = asyncio.Event()  # something was started or came since the last plan
        self.closed = False  # takes no more runs
        self._remembering: Remembering | None = None

    @property
    def client(self) -> PrefectClient:
        client = super().client
        if self._remembering is None or self._remembering.client is not client:
            self._remembering = Remembering(client)
        return cast(PrefectClient, self._remembering)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Start what the pool hands out, one look at a time."""
        async with self._turn:
            if self.closed:
                return []
            if self._planner is None or self.unplanned.is_set():
                # Whoever looks, Prefect's polling too: a run may end between an event and the look that it causes.
                # Mostly it is done long ago, but for what started or came within the last second.
                await self._plan()
            started = await super().get_and_submit_flow_runs()
            if started:
                self._started += started
                self.unplanned.set()
            return started

    async def plan(self) -> None:
        """Put the order right for the next look."""
        async with self._turn:
            if not self.closed:
                await self._plan()

    async def _plan(self) -> None:
        """A failure costs the order, not the runs."""
        started, self._started = self._started, []
        self.unplanned.clear()
        try:
            self._planner = self._planner or Planner(self.client, POOL)
            await self._planner.arrange(started)
        except Exception as error:
            logger.warning("the order could not be planned: %s", error)


async def supervise() -> None:
    """Run until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    worker = DarkroomWorker(
        work_pool_name=POOL, name=recovery.worker_name(), create_pool_if_not_found=False, prefetch_seconds=0
    )
    warm = WarmStart()
    cold = os.environ.get(COLD) == "1"
    if not cold:
        Configuration.start = staticmethod(lambda: warm.command)
    wake = Wake()
    duties = [
        _always(lambda: listen(wake)),
        _always(lambda: _hand_out(worker, wake)),
        _always(lambda: _keep_order(worker)),
        _always(_recover_runs),
        _always(_interrupt_orphans),
    ]
    if not cold:
        duties.append(_always(warm.keep))
    tasks = [asyncio.create_task(duty) for duty in duties]
    if not cold:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(warm.ready.wait(), 30)
    works = asyncio.create_task(worker.start(printer=_announce))
    stops = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([works, stops], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            worker.closed = True
            await asyncio.to_thread(say_goodbye)
            works.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await works
    finally:
        for task in [*tasks, stops]:
            task.cancel()
        await asyncio.gather(*tasks, stops, return_exceptions=True)


def _announce(text: str) -> None:
    print(READY_LINE if "started" in text else text, flush=True)


def say_goodbye() -> None:
    """Ask the runs of this worker to end, so that each interrupts its WebUI; what one leaves there is interrupted here.

    Prefect's worker would kill them, and the WebUI would paint on.
    """
    runs = recovery.children_that_run()
    for process in runs:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(runs, timeout=GOODBYE)
    jobs, deadline = recovery.OrphanedJobs(), time.monotonic() + GOODBYE / 2
    while jobs.look() and time.monotonic() < deadline:
        time.sleep(recovery.INTERRUPT_AGAIN)


async def _always(duty: Callable[[], Awaitable[None]]) -> None:
    """Do a duty for good: what fails is said and done again."""
    while True:
        try:
            await duty()
            return
        except Exception as error:
            logger.warning("%s; again in %g s", error, TRY_AGAIN)
        await asyncio.sleep(TRY_AGAIN)


async def _hand_out(worker: DarkroomWorker, wake: Wake) -> None:
    """Start what may run at the moment when it may."""
    started: list[FlowRun] = []
    while True:
        news = await wake.wait(quiet=QUIET if started else 0.0)
        if not worker.is_setup:
            continue
        started = await _look(worker, news)
        if not started:
            await asyncio.sleep(AGAIN)  # events come in groups: one more look serves those that came meanwhile
            started = await _look(worker, wake.take())


async def _look(worker: DarkroomWorker, news: News) -> list[FlowRun]:
    if news.work:
        worker.unplanned.set()
    return await worker.get_and_submit_flow_runs()


async def _keep_order(worker: DarkroomWorker) -> None:
    """When something was started or came, but not at once: plan, and clean up.

    Prefect makes two clients for each run and leaves them in cycles, with memory of OpenSSL's that Python does not
    count: its collector would come for them after hundreds of runs. What is there before the first run stays for good.
    """
    await worker.unplanned.wait()
    gc.collect()
    gc.freeze()
    while True:
        try:
            await asyncio.wait_for(worker.unplanned.wait(), PLAN_EVERY)
        except TimeoutError:
            worker.unplanned.set()
        await asyncio.sleep(PLAN_AFTER)
        if worker.is_setup and worker.unplanned.is_set():
            await worker.plan()
        gc.collect()


async def _recover_runs() -> None:
    async with get_client() as client:
        while True:
            await recovery.recover_runs(client, POOL)
            await asyncio.sleep(recovery.LOOK)


async def _interrupt_orphans() -> None:
    jobs = recovery.OrphanedJobs()
    while True:
        await asyncio.to_thread(jobs.look)
        await asyncio.sleep(recovery.INTERRUPT_AGAIN)


def main() -> int:
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(supervise())
    return 0
