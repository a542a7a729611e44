"""How a task that paints is run: each request is a task run of its own, tried again where that may help."""

from __future__ import annotations

import time
from typing import Any

from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from gpu.sender import Answer
from pictures.checks import Painted
from pictures.kept import write
from store.picture import Picture
from store.settings import settings
from tasks.status import this_run
from webui.errors import is_transient

RETRIES = 3
WRITABLE_WITHIN = 300.0  # seconds for which a painted picture waits for a folder that cannot be written
WRITE_AGAIN_EVERY = 1.0  # seconds


def is_retryable(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether another try may succeed; never for what the WebUI refused."""
    try:
        state.result()
    except Exception as error:
        return is_transient(error)
    return False


RETRYING: dict[str, Any] = {
    "retries": RETRIES,
    "retry_delay_seconds": exponential_backoff(settings().retry_backoff),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_retryable,
}
PAINTING: dict[str, Any] = RETRYING | {
    "task_run_name": "{request.title}",
    "cache_policy": NO_CACHE,  # Prefect's cache knows nothing of the files; see pictures/kept.py
    "persist_result": False,
}


def write_patiently(answer: Answer, number: int, painted: Painted, *, infotext: str, note: str) -> Picture:
    """As :func:`write`; where the folder cannot be written just now, nothing that was painted is lost at once.

    Raises:
        OSError: it could not be written within five minutes.
    """
    deadline, told = time.monotonic() + WRITABLE_WITHIN, False
    while True:
        try:
            return write(answer, number, painted, run=str(this_run().id), infotext=infotext, note=note)
        except OSError as error:
            said = f"{answer.request.title} is painted and cannot be written into {settings().runs}: {error}"
            if time.monotonic() > deadline:
                raise OSError(f"{said}. Make room or mend the folder, then Retry") from error
            if not told:
                get_run_logger().warning("waiting for %d s at most: %s", WRITABLE_WITHIN, said)
                told = True
            time.sleep(WRITE_AGAIN_EVERY)
