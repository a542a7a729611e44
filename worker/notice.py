"""What a person should hear of and Prefect has no event for, as events of ours: an emptied queue, a WebUI that is away.

Prefect's automations carry them to where ``darkroom notify`` says, and with them Prefect's own event of a failed run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.events import emit_event

from deployments.bootstrap import POOL

WEBUI_AWAY = "darkroom.webui.away"
WEBUI_BACK = "darkroom.webui.back"
QUEUE_EMPTIED = "darkroom.queue.emptied"
HOURS_WRONG = "darkroom.hours.wrong"
OF_POOL = {"prefect.resource.role": "work-pool", "prefect.resource.name": POOL}  # what an event of our pool relates to
LOOK_EVERY = 12.0  # seconds; more than recovery.RESUME_EVERY
NOT_ENDED = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]
ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


def tell(event: str, text: str) -> None:
    """Send one of the events above, with a text for a person (``event.payload.text`` in an automation). Never waits."""
    of_pool = {"prefect.resource.id": f"darkroom.work-pool.{POOL}", **OF_POOL}
    emit_event(event, {"prefect.resource.id": "darkroom.worker"}, related=[of_pool], payload={"text": text})


class QueueWatch:
    """Tells once when every run that was due has ended, and how many ended how since the last time."""

    def __init__(self) -> None:
        self._since = datetime.now(UTC)
        self._was_empty = False

    async def look(self, client: PrefectClient, pool: str) -> None:
        """One look. Two in a row have to find nothing: between them a crashed run is put back into the queue."""
        now = datetime.now(UTC)
        was_empty, self._was_empty = self._was_empty, False
        # A run that goes on later keeps its expected start; one that a timetable has laid out has it in the future.
        if await _count(client, pool, NOT_ENDED, expected_start_time={"before_": now}):
            return
        self._was_empty = True
        if not was_empty:
            return
        ended = {
            state: await _count(client, pool, [state], end_time={"after_": self._since, "before_": now})
            for state in ENDED
        }
        self._since = now
        if any(ended.values()):
            counts = ", ".join(f"{count} {state.lower()}" for state, count in ended.items() if count)
            tell(QUEUE_EMPTIED, f"No run waits any more. Since the last notice: {counts}")


async def _count(client: PrefectClient, pool: str, states: list[str], **wanted: Any) -> int:
    return await client.count_flow_runs(
        work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": states}}, **wanted}),
    )
