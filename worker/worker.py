"""The worker: Prefect's process worker with our way to start a process, and our order.

It asks Prefect as little as it can: each request is 10 to 40 ms of the server's time, and where one run at a time is
allowed, the GPU waits for them.
"""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, cast
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import Settings, get_current_settings
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from deployments.bootstrap import POOL
from services.process import appending_to
from store.settings import settings
from worker.fork import COLD_START
from worker.order import Planner

MOMENT = 0.5  # seconds

# Where a run's process finds its flow, as Prefect's own runner tells it. Without it each run asks the server for the
# deployment that the worker has just read. It is not documented, so a test sees whether Prefect still reads it.
ENTRYPOINT = "PREFECT__FLOW_ENTRYPOINT"

logger = logging.getLogger("darkroom.worker")


class Configuration(ProcessJobConfiguration):
    """How a run is started on this host, unless its deployment's own ``command`` says otherwise.

    Without a command Prefect would prepare a workspace for each run, which the installed project has no use for.
    """

    start: ClassVar[Callable[[], str]] = staticmethod(lambda: COLD_START)

    def prepare_for_flow_run(
        self, flow_run: FlowRun, deployment: DeploymentResponse | None = None, *args: Any, **kwargs: Any
    ) -> None:
        # Not into the worker's pipe: the run goes on when the worker dies.
        self.command = self.command or appending_to(settings().home / "logs" / "runs.log", type(self).start())
        super().prepare_for_flow_run(flow_run, deployment, *args, **kwargs)
        if deployment is not None and is_installed(deployment):
            self.env[ENTRYPOINT] = deployment.entrypoint


def is_installed(deployment: DeploymentResponse) -> bool:
    """Whether the flow is a module of what is installed, and nothing has to be fetched before it can be imported."""
    return bool(deployment.entrypoint) and ":" not in str(deployment.entrypoint) and not deployment.pull_steps


def remember_settings() -> None:
    """Have Prefect write this process's settings down as environment variables only once.

    It does so twice for each run that it starts, 15 to 20 ms of one core each time, and they stay as they are.
    """
    own, write = get_current_settings(), Settings.to_environment_variables
    written = own.to_environment_variables(exclude_unset=True)

    def remembered(settings: Any, *args: Any, **kwargs: Any) -> dict[str, str]:
        if settings is own and not args and kwargs == {"exclude_unset": True}:
            return dict(written)
        return write(settings, *args, **kwargs)

    Settings.to_environment_variables = remembered  # type: ignore[assignment, method-assign]


# Prefect warns that this takes the place of its own worker of that type in this process; so it should.
warnings.filterwarnings("ignore", message="Type 'DarkroomWorker'")


class Remembering:
    """Prefect's client, not asked twice for what cannot have changed.

    A flow's name never does. A deployment is read twice to start a run, within a moment; it is only a moment, so
    nothing that a user changes comes late.
    """

    def __init__(self, client: PrefectClient) -> None:
        self.client = client
        self._flows: dict[UUID, Flow] = {}
        self._deployments: dict[UUID, tuple[float, DeploymentResponse]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    async def read_flow(self, flow_id: UUID) -> Flow:
        if flow_id not in self._flows:
            self._flows[flow_id] = await self.client.read_flow(flow_id)
        return self._flows[flow_id]

    async def read_deployment(self, deployment_id: UUID) -> DeploymentResponse:
        now = time.monotonic()
        self._deployments = {key: known for key, known in self._deployments.items() if now - known[0] < MOMENT}
        if deployment_id not in self._deployments:
            self._deployments[deployment_id] = (now, await self.client.read_deployment(deployment_id))
        # A copy: Prefect writes a run's own environment into what it has read.
        return self._deployments[deployment_id][1].model_copy(deep=True)


class DarkroomWorker(ProcessWorker):
    """Prefect's process worker with our way to start a process, our order, and one hand-out at a time."""

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
