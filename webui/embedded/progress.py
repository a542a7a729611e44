"""Which task waits, runs and has finished, and what a page is told about each (/internal/*)."""

from __future__ import annotations

import base64
import io
import random
import string
import threading
import time
from collections import OrderedDict, deque
from concurrent.futures import Future
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from webui.embedded.options import Options
from webui.embedded.state import State

FINISHED_KEPT = 16
RESULTS_KEPT = 2  # a result is a whole answer with its pictures; the real one keeps two as well
_ID_LETTERS = string.ascii_uppercase + string.digits


class ProgressRequest(BaseModel):
    id_task: str = Field(
        default=None,  # type: ignore[assignment]  # as recorded: a text in the schema, nothing by default
        title="Task ID",
        description="id of the task to get progress for",
    )
    id_live_preview: int = Field(
        default=-1, title="Live preview image ID", description="id of last received last preview image"
    )
    live_preview: bool = Field(
        default=True,
        title="Include live preview",
        description="boolean flag indicating whether to include the live preview image",
    )


class ProgressResponse(BaseModel):
    active: bool = Field(title="Whether the task is being worked on right now")
    queued: bool = Field(title="Whether the task is in queue")
    completed: bool = Field(title="Whether the task has already finished")
    progress: float | None = Field(default=None, title="Progress", description="The progress with a range of 0 to 1")
    eta: float | None = Field(default=None, title="ETA in secs")
    live_preview: str | None = Field(
        default=None, title="Live preview image", description="Current live preview; a data: uri"
    )
    id_live_preview: int | None = Field(
        default=None,
        title="Live preview image ID",
        description="Send this together with next request to prevent receiving same image",
    )
    textinfo: str | None = Field(default=None, title="Info text", description="Info text used by WebUI.")


class PendingTasksResponse(BaseModel):
    size: int = Field(title="Pending task size")
    tasks: list[str] = Field(title="Pending task ids")


class RestoreRequest(BaseModel):
    id_task: str = Field(title="Task ID", description="id of the task whose result is wanted")
    timeout: float = Field(default=60.0, ge=0, le=600, description="seconds to wait for a task not done yet")


def create_task_id(task_type: str) -> str:
    return f"task({task_type}-{''.join(random.choices(_ID_LETTERS, k=7))})"


class Tasks:
    """Pending, current and finished tasks by id. Thread-safe.

    A task whose job raised stays the current one until the next job starts: so it does in the real WebUI.
    """

    def __init__(self, state: State, options: Options) -> None:
        self._state = state
        self._options = options
        self._changed = threading.Condition()
        self._pending: OrderedDict[str, float] = OrderedDict()
        self._finished: deque[str] = deque(maxlen=FINISHED_KEPT)
        self._results: deque[tuple[str, Any]] = deque(maxlen=RESULTS_KEPT)
        self._failed: str | None = None
        self.current: str | None = None

    # -- a task's life -----------------------------------------------------------------------------------

    def add_task_to_queue(self, id_task: str) -> None:
        with self._changed:
            self._pending[id_task] = time.time()

    def start_task(self, id_task: str) -> None:
        with self._changed:
            self.current = id_task
            self._failed = None
            self._pending.pop(id_task, None)
            self._changed.notify_all()

    def finish_task(self, id_task: str) -> None:
        with self._changed:
            if self.current == id_task:
                self.current = None
            self._finished.append(id_task)
            self._changed.notify_all()

    def fail_task(self, id_task: str) -> None:
        """Tell whoever waits for its result that none will come; the task stays the current one."""
        with self._changed:
            self._failed = id_task
            self._changed.notify_all()

    def record_results(self, id_task: str, result: Any) -> None:
        """A result, or the Future of one that is still being written. To be called before `finish_task`."""
        with self._changed:
            self._results.append((id_task, result))
            self._changed.notify_all()

    # -- questions ---------------------------------------------------------------------------------------

    def get_pending_tasks(self) -> PendingTasksResponse:
        with self._changed:
            return PendingTasksResponse(size=len(self._pending), tasks=list(self._pending))

    def progressapi(self, req: ProgressRequest) -> ProgressResponse:
        with self._changed:
            active = req.id_task == self.current
            waiting = list(self._pending)
            completed = req.id_task in self._finished
        queued = req.id_task in waiting
        if not active:
            text = f"In queue: {waiting.index(req.id_task) + 1}/{len(waiting)}" if queued else "Waiting..."
            return ProgressResponse(
                active=active, queued=queued, completed=completed, id_live_preview=-1, textinfo=text
            )
        state = self._state
        job_count, job_no = state.job_count, state.job_no
        sampling_steps, sampling_step = state.sampling_steps, state.sampling_step
        progress = 0.0
        if job_count > 0:
            progress += job_no / job_count
            if sampling_steps > 0:
                progress += 1 / job_count * sampling_step / sampling_steps
        progress = min(progress, 1)
        elapsed = time.time() - state.time_start  # type: ignore[operator]  # None on a fresh server: a 500
        eta = elapsed / progress - elapsed if progress > 0 else None
        preview, id_preview = self._live_preview(req)
        return ProgressResponse(
            active=active,
            queued=queued,
            completed=completed,
            progress=progress,
            eta=eta,
            live_preview=preview,
            id_live_preview=id_preview,
            textinfo=state.textinfo,
        )

    def _live_preview(self, req: ProgressRequest) -> tuple[str | None, int]:
        """A data URI and its id; none if the asker has this preview already."""
        state = self._state
        if not (self._options.live_previews_enable and req.live_preview):
            return None, req.id_live_preview
        state.set_current_image()
        image, id_preview = state.current_image, state.id_live_preview
        if id_preview == req.id_live_preview or image is None:
            return None, req.id_live_preview
        kind = self._options.live_previews_image_format
        buffer = io.BytesIO()
        image.save(buffer, format=kind, **({"compress_level": 1} if kind == "png" else {}))
        return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}", id_preview

    def restore_progress(self, id_task: str, timeout: float = 60.0) -> Any:
        """Wait until the task is done and give its recorded result.

        Raises LookupError if there is none: it failed, is not done after `timeout` seconds, was never
        there, or its result has given way to later ones.
        """

        def open_still() -> bool:
            if id_task in self._pending:
                return True
            return id_task == self.current and id_task != self._failed

        with self._changed:
            if not self._changed.wait_for(lambda: not open_still(), timeout):
                raise LookupError(f"{id_task} is not done after {timeout:g} s; ask again")
            found = next((result for known, result in reversed(self._results) if known == id_task), None)
        if isinstance(found, Future):
            found = found.result(timeout)
        if found is not None:
            return found
        raise LookupError(
            f"Couldn't restore progress for {id_task}: results either have been discarded or never were obtained"
        )

    # -- routes ------------------------------------------------------------------------------------------

    def setup_progress_api(self, app: FastAPI) -> None:
        """Register the routes of a page. They stay open under --api-auth, as in the real WebUI."""
        app.add_api_route("/internal/pending-tasks", self.get_pending_tasks, methods=["GET"], response_model=None)
        app.add_api_route("/internal/progress", self.progressapi, methods=["POST"], response_model=ProgressResponse)

        @app.post("/internal/restore-progress")
        def restore_progress(req: RestoreRequest) -> Any:
            try:
                return self.restore_progress(req.id_task, req.timeout)
            except LookupError as error:
                raise HTTPException(404, str(error)) from error
