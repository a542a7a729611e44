"""Our job at a WebUI: one request, known there by a task id of ours.

A WebUI paints on when its client dies, and its interrupt takes no id: it hits whatever runs. So each request leaves a
note on disk while it is there, locked by its process. A note that can be locked belongs to a dead process, and its job
may be stopped by whoever finds it. A request is ours until the WebUI no longer knows its id.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gpu.progress import Pace, Reading
from store.locks import Held, hold
from store.settings import settings
from webui.client import WebUIClient
from webui.errors import CallTimedOut, NotFound, Unreachable, WebUIError

QUICK_LOOK = 0.5  # seconds; a cancel does not wait longer for a WebUI that is slow to tell whose job runs
KNOWN_WITHIN = 1.0  # seconds from sending, within which a WebUI knows a task id (unless its threads are starved)

logger = logging.getLogger(__name__)


class Job:
    """A request of ours at a WebUI, by its task id.

    Attributes:
        awaited: it is sent, and its answer is not here yet.
        interrupted: the WebUI's flag for an interrupt or a skip was seen up while this job ran.
        stopping_since: when we first interrupted it, on the monotonic clock.
    """

    def __init__(
        self, client: WebUIClient, task_id: str, *, note: Path | None = None, pace: Pace | None = None
    ) -> None:
        self.client, self.id = client, task_id
        self.pace = pace or Pace()
        self.awaited = self.interrupted = False
        self.stopping_since: float | None = None
        self._note = note
        self._lock: Held | None = None

    @classmethod
    def create(cls, client: WebUIClient, task_id: str, pace: Pace | None = None) -> Job:
        """A job that is about to be sent, with its note on disk and locked by this process, until ``close``."""
        name = hashlib.sha256(task_id.encode()).hexdigest()[:24]
        job = cls(client, task_id, note=_folder() / f"{name}.json", pace=pace)
        assert job._note is not None
        job._note.parent.mkdir(parents=True, exist_ok=True)
        unnamed = job._note.with_suffix(".new")
        unnamed.write_text(json.dumps({"base_url": client.base_url, "task_id": task_id}))
        job._lock = hold(unnamed)
        unnamed.rename(job._note)  # named only when locked: nobody finds it unlocked while we live
        return job

    def sending(self) -> None:
        """It goes out now."""
        if self._note is not None:
            os.utime(self._note)
        self.pace.begin()
        self.awaited = True

    def close(self) -> None:
        """The WebUI is done with it: its note is removed."""
        self.awaited = False
        if self._note is not None:
            self._note.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()

    def progress(self, preview_id: int | None = None) -> Reading | None:
        """One look at this job's progress; None while it waits in the WebUI's queue, or is not known there.

        By task id where the WebUI has ``/internal/progress``, else what ``/sdapi/v1/progress`` says of whatever runs.
        The step comes from the latter, which knows no ids, so it is told only while our id is the active one.

        Args:
            preview_id: of the last live preview, to get a newer one; −1 for any, None for none.

        Raises:
            WebUIError: it could not be had.
        """
        try:
            ours = self.client.task_progress(
                self.id, live_preview=preview_id is not None, id_live_preview=-1 if preview_id is None else preview_id
            )
            if not ours.active:
                if ours.queued:
                    self.pace.begin()  # waiting is not standing still
                return None
        except NotFound:
            ours = None
        shared = self.client.get_progress()
        if shared is not None:
            self.interrupted |= shared.state.interrupted or shared.state.skipped
        elif ours is None:
            return None
        state = shared.state if shared else None
        # While a job is set up, and after a model load, sampling_steps is still the last job's.
        steps_are_ours = ours is not None and state is not None and state.sampling_step > 0
        reading = Reading(
            fraction=(ours.progress or 0.0) if ours else shared.progress if shared else 0.0,
            eta=ours.eta if ours else shared.eta_relative if shared else None,
            jobs=max(1, state.job_count) if state else 1,
            step=state.sampling_step if state and steps_are_ours else None,
            steps=state.sampling_steps if state and steps_are_ours else None,
            # Until the first step a WebUI may still hold the last job's.
            preview=ours.live_preview if ours and steps_are_ours else None,
            preview_id=ours.id_live_preview if ours else -1,
        )
        self.pace.read(reading)
        return reading

    def stop(self) -> bool:
        """One step towards this job's end: interrupt it if it is the one that runs. Returns whether it is over.

        To be repeated until it is: a job in the WebUI's queue cannot be interrupted, and an interrupt is lost when it
        comes before its job begins. When a look shows that ours was accepted no other is sent, for it would hit the
        next job. Whose job runs is asked just before each interrupt. What remains: our job may end by itself between
        that answer and the interrupt (some milliseconds), which then hits the job after it; or, where the answer is
        slow, between the work's end and the arrival of its picture.

        Where a WebUI has no ``/internal`` routes nobody can tell whose job runs, so nothing is interrupted: a wrong
        guess would cost a stranger's picture, a right one saves only the rest of ours.

        Raises:
            WebUIError: the WebUI did not tell, or refused.
        """
        try:
            if self.stopping_since is not None:
                state = self.client.job_state().state
                if state.interrupted or not state.running:
                    return not state.running
            try:
                ours = self.client.task_progress(self.id, timeout=QUICK_LOOK)
                if not ours.active:
                    return not ours.queued and (ours.completed or self._seconds_since_sent() > KNOWN_WITHIN)
            except CallTimedOut:
                if not self._must_be_running():
                    raise
            self.stopping_since = self.stopping_since or time.monotonic()
            self.client.interrupt()
            return False
        except NotFound:
            return True

    def _must_be_running(self) -> bool:
        """Told without the progress route: sent a while ago, unanswered, and not in the WebUI's own queue."""
        if not self.awaited or self._seconds_since_sent() < KNOWN_WITHIN:
            return False
        return self.id not in self.client.pending_tasks()

    def _seconds_since_sent(self) -> float:
        try:
            return time.time() - self._note.stat().st_mtime if self._note is not None else float("inf")
        except FileNotFoundError:
            return float("inf")


class OrphanedJobs:
    """Jobs whose process is dead, as their notes tell; to be stopped at their WebUIs, look by look.

    Args:
        connect: makes a client for a WebUI's address.
    """

    def __init__(self, connect: Callable[[str], WebUIClient]) -> None:
        self._connect = connect
        self._jobs: dict[Path, Job] = {}

    def look(self, base_url: str | None = None) -> int:
        """Take one step with each, at one WebUI or all; returns how many are left."""
        left, away = 0, set()
        for note, address, task_id in orphaned_notes():
            if base_url not in (None, address):
                continue
            left += 1
            if address in away:
                continue
            if note not in self._jobs:
                self._jobs[note] = Job(self._connect(address), task_id, note=note)
            job = self._jobs[note]
            known = job.stopping_since
            try:
                if job.stop():
                    self._jobs.pop(note).close()
                    left -= 1
            except Unreachable:
                away.add(address)
            except WebUIError:
                pass  # the next look tries again
            if job.stopping_since != known:
                logger.warning("interrupted %s at %s: its run is dead", task_id, address)
        return left


def orphaned_notes() -> Iterator[tuple[Path, str, str]]:
    """Notes whose process is dead, as (file, address, task id)."""
    for path in sorted(_folder().glob("*.json")):
        lock = hold(path, wait=False)
        if lock is None:
            continue
        lock.release()
        try:
            note = json.loads(path.read_text())
            yield path, note["base_url"], note["task_id"]
        except (OSError, ValueError, KeyError):
            path.unlink(missing_ok=True)


def _folder() -> Path:
    return settings().home / "inflight"
