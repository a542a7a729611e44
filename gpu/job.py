"""Our job at a WebUI: one request, known there by a task id of ours.

A WebUI paints on when its client dies, and its interrupt takes no id: it hits whatever runs. So each request leaves a
note on disk while it is there, locked by its process. A note that can be locked belongs to a dead process, and its job
may be stopped by whoever finds it. A request is ours until the WebUI no longer knows its id.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from gpu.progress import Pace, Reading
from store.locks import Held, hold
from store.settings import settings
from webui.client import WebUIClient
from webui.errors import CallFailed, CallTimedOut, NotFound, WebUIError
from webui.models import State

QUICK_LOOK = 0.5  # seconds; a cancel does not wait longer for a WebUI that is slow to tell whose job runs
DECODES_WITHIN = 10.0  # seconds from a job's last step to its end, for a large picture
KNOWN_WITHIN = 1.0  # seconds from sending, within which a WebUI knows a task id (unless its threads are starved)

logger = logging.getLogger(__name__)


class Job:
    """A request of ours at a WebUI, by its task id.

    Attributes:
        awaited: it is sent, and its answer is not here yet.
        loaded: the hashes of the checkpoints that the WebUI was seen to have in memory for it.
        looked: set when none is added any more.
        interrupted, skipped: the WebUI's flag for an interrupt, or for a skip, was seen up while this job ran.
        stopping_since: when we first interrupted it, on the monotonic clock.
    """

    def __init__(self, client: WebUIClient, task_id: str, pace: Pace | None = None, lock: Held | None = None) -> None:
        self.client, self.id = client, task_id
        self.pace = pace or Pace()
        self.awaited = self.interrupted = self.skipped = False
        self.loaded: list[str] = []
        self.looked = threading.Event()
        self.stopping_since: float | None = None
        self._decoding_since: float | None = None
        self._note = settings().home / "inflight" / f"{hashlib.sha256(task_id.encode()).hexdigest()[:24]}.json"
        self._lock = lock  # of the note

    def mark_sent(self) -> None:
        """It goes out now: its note is written, and locked by this process until ``close``."""
        self._note.parent.mkdir(parents=True, exist_ok=True)
        unnamed = self._note.with_suffix(".new")
        unnamed.write_text(json.dumps({"base_url": self.client.base_url, "task_id": self.id}))
        self._lock = hold(unnamed)
        unnamed.rename(self._note)  # named only when locked: nobody finds it unlocked while we live
        self.pace.begin()
        self.awaited = True

    def close(self) -> None:
        """The WebUI is done with it: its note is removed."""
        self.awaited = False
        self._note.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()

    def progress(self, preview_id: int | None = None) -> Reading | None:
        """One look at this job's progress; None while it waits in the WebUI's queue, or is not known there.

        Only ``/internal/progress`` knows task ids, so what ``/sdapi/v1/progress`` says counts while our id is the
        active one. Where there are no ``/internal`` routes it is told of whatever runs, without step and preview.
        ``preview_id``: of the last live preview, to get a newer one; −1 for any, None for none.

        Raises:
            WebUIError: it could not be had.
        """
        try:
            ours = self.client.task_progress(self.id, preview_id=preview_id)
        except NotFound:
            ours = None
        if ours is not None and not ours.active:
            if ours.queued:
                self.pace.begin()  # waiting is not standing still
            return None
        state = self.client.job_state().state
        if not state.running:
            return None
        self.pace.read(state)
        self.interrupted |= state.interrupted
        self.skipped |= state.skipped
        jobs = max(1, state.job_count)
        # Until its first step a WebUI may still hold the last job's number of steps and its picture.
        if ours is None or state.sampling_step == 0:
            return Reading(state.jobs_done, jobs)
        if not self.loaded:
            self.look_loaded()  # from its first step on, a job's model is loaded for good
        steps = (state.sampling_step, state.sampling_steps)
        return Reading(state.jobs_done, jobs, *steps, ours.live_preview, ours.id_live_preview)

    def look_loaded(self) -> None:
        """See which checkpoint the WebUI has in memory.

        By ``sd_checkpoint_hash`` of its options, which changes when a load ends. ``sd_model_checkpoint`` there only
        echoes what was posted, and a picture's info names what was loaded before the job's last reload.
        """
        with suppress(WebUIError):
            seen = self.client.options(timeout=self.client.timeouts.progress).get("sd_checkpoint_hash")
            self.loaded += [str(seen)] if seen else []

    def stop(self) -> bool:
        """One step towards this job's end: interrupt it if it is the one that runs. Returns whether it is over.

        To be repeated until it is: a job in the WebUI's queue cannot be interrupted, and an interrupt is lost when it
        comes before its job begins. Whose job runs is asked just before each interrupt. None is sent when a look shows
        that ours was accepted, for it would hit the next job, and none when the last step is done: what is left can't
        be stopped. What remains: our job may end between that look and the interrupt (some milliseconds, or as long as
        a slow answer takes), which then hits the job after it. Where a WebUI has no ``/internal`` routes nobody can
        tell whose job runs, so nothing is interrupted.

        Raises:
            WebUIError: the WebUI did not tell.
        """
        try:
            if self.stopping_since is not None:
                state = self.client.job_state(timeout=QUICK_LOOK).state
                if state.interrupted or not state.running:
                    return not state.running
            decodes = self._only_decodes()
            try:
                ours = self.client.task_progress(self.id, timeout=QUICK_LOOK)
                if not ours.active:
                    return not ours.queued and (ours.completed or self._seconds_since_sent() > KNOWN_WITHIN)
            except CallTimedOut:
                # Without that look it runs for sure if it was sent a while ago and is not in the WebUI's own queue.
                recent = not self.awaited or self._seconds_since_sent() < KNOWN_WITHIN
                if recent or self.id in self.client.pending_tasks():
                    raise
        except NotFound:
            return True
        if not decodes:
            self._interrupt()
        return False

    def _interrupt(self) -> None:
        asked = time.monotonic()
        self.stopping_since = self.stopping_since or asked
        with suppress(CallFailed, CallTimedOut):  # the next look tells whether it was accepted
            self.client.interrupt()
        if (took := time.monotonic() - asked) > QUICK_LOOK:
            logger.warning("interrupting %s took %.1f s: if it ended meanwhile, the next job was hit", self.id, took)

    def _only_decodes(self) -> bool:
        """Whether the last step of whatever runs is done, for no longer than decoding may take."""
        state = State()
        with suppress(WebUIError):  # a cancel does not wait for an answer that is slow
            state = self.client.job_state(timeout=QUICK_LOOK).state
        if state.job_no + 1 < state.job_count or not state.sampling_step >= state.sampling_steps - 1 > 0:
            self._decoding_since = None
            return False
        self._decoding_since = self._decoding_since or time.monotonic()
        return time.monotonic() - self._decoding_since < DECODES_WITHIN

    def _seconds_since_sent(self) -> float:
        try:
            return time.time() - self._note.stat().st_mtime
        except FileNotFoundError:  # somebody tidied the folder
            return float("inf")


def sent_for(run: str, client: WebUIClient) -> Job | None:
    """The request that a living process of this machine has at a WebUI for a flow run, to be looked at; None: none."""
    for path in (settings().home / "inflight").glob("*.json"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            note = json.loads(path.read_text())
            if str(note["task_id"]).startswith(f"task(darkroom-{run[:8]}-") and note["base_url"] == client.base_url:
                return Job(client, str(note["task_id"]))
    return None


def orphans(connect: Callable[[str], WebUIClient], base_url: str = "") -> Iterator[Job]:
    """The jobs whose process is dead, at one WebUI or all; this process's from now on, which locks their notes.
    ``connect`` makes a client for a WebUI's address."""
    for path in sorted((settings().home / "inflight").glob("*.json")):
        if (lock := hold(path, wait=False)) is None:
            continue
        try:
            note = json.loads(path.read_text())
            address, task_id = str(note["base_url"]), str(note["task_id"])
        except (OSError, ValueError, TypeError, KeyError):
            path.unlink(missing_ok=True)
            address = task_id = ""
        if address and base_url in ("", address):
            yield Job(connect(address), task_id, lock=lock)
        else:
            lock.release()
