"""When a request may be sent: this host's lease is ours, and the WebUI is done with the jobs that were there before.

A stranger is anybody else who uses the WebUI: a person at its page, another program, a worker on another host. Their
jobs are waited for and never interrupted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from gpu.job import Job, orphans
from gpu.lease import NEVER, Lease
from gpu.progress import LONGEST_STILL, Pace
from gpu.restart import restart
from webui.client import WebUIClient
from webui.errors import CallTimedOut, Interrupted, Stalled, Unavailable, WebUIError
from webui.models import State

IDLE_FOR = 0.05  # seconds for which a WebUI that was seen idle counts as idle, for the next run as well
STRANGER_POLL = 0.25  # seconds between two looks at a stranger's job
STOP_POLL = 0.1  # seconds between two looks at a job of ours that is to end
STOPS_WITHIN = 20.0  # seconds from the interrupt to the end of our job; a cancelled process is killed after 30


class Turn:
    """Our turn at a WebUI, from a run's first request to its last answer; see Sender for the arguments.

    Attributes:
        leaving: set when nothing more is to be sent.
        lost: jobs of ours that may be at the WebUI though nobody waits for them any more.
    """

    def __init__(
        self,
        client: WebUIClient,
        lease: Lease | None,
        on_wait: Callable[[str | None], None],
        may_send: Callable[[], None],
    ) -> None:
        self.leaving = threading.Event()
        self.lost: list[Job] = []
        self.may_send = may_send
        self._client, self._lease, self._on_wait = client, lease, on_wait
        self._said: str | None = None  # the reason that was told last
        self._idle_at = NEVER  # when the WebUI was last seen without a job, on the monotonic clock

    def take(self) -> None:
        """Wait for the lease, if it is not held, and take over what dead runs left at the WebUI."""
        if self._lease is not None and not self._lease.held:
            said = "the GPU is with the run {0.name!r} ({0.run}, process {0.pid})"
            self._idle_at = max(self._idle_at, self._lease.take(lambda holder: self.say(said.format(holder))))
            self.lost += orphans(lambda _: self._client, self._client.base_url)

    def give_back(self) -> None:
        """Let the next run have the GPU."""
        if self._lease is not None:
            self._lease.give_back(idle_at=self._idle_at)

    def wait(self) -> None:
        """Return when the next request may go.

        Raises:
            Stalled, Unavailable: see stop_lost.
            Interrupted: nothing more is to be sent.
        """
        try:
            self.stop_lost()
            self._wait_for_strangers()
        except (Stalled, Unavailable):
            raise
        except WebUIError:
            pass  # the request itself will say what is wrong, with its own retries
        self.may_send()
        if self.leaving.is_set():
            raise Interrupted("nothing more is sent: the run is over")

    def say(self, reason: str | None) -> None:
        """Tell what is waited for; None, that it is over, when the request is on the wire: telling takes some time."""
        if reason != self._said and not self.leaving.is_set():  # a cancelled run keeps its own state
            self._said = reason
            self._on_wait(reason)

    def look(self) -> State:
        """What the WebUI does now; remembers when it was idle.

        Raises:
            WebUIError: it did not tell.
        """
        state = self._client.job_state().state
        self._idle_at = NEVER if state.running else time.monotonic()
        return state

    def stop_lost(self) -> None:
        """Stop what nobody waits for any more, before it is painted again.

        Raises:
            Stalled: it did not end though it was interrupted, and the WebUI was not restarted.
            Unavailable: the WebUI was restarted.
            WebUIError: the WebUI did not tell.
        """
        for job in list(self.lost):
            deadline, over = time.monotonic() + STOPS_WITHIN, False
            while not over:
                with suppress(CallTimedOut):  # one slow look says nothing
                    over = job.stop()
                    if not over and job.stopping_since is None:  # it waits in the WebUI's queue
                        deadline = time.monotonic() + STOPS_WITHIN
                        self.say(f"an answer was lost: its job {job.id} has to end at the WebUI first")
                if not over and time.monotonic() > deadline:
                    self._restart(f"{job.id} at {self._client.base_url} was interrupted and still runs after ")
                if not over and self.leaving.wait(STOP_POLL):
                    return
            self.lost.remove(job)
            job.close()

    def _restart(self, said: str) -> None:
        said += f"{STOPS_WITHIN:g} s: the WebUI hangs"
        if why := restart(self._client, [job.id for job in self.lost]):
            raise Stalled(f"{said}. It was not restarted: {why}. Restart it, then Retry this run")
        while self.lost:
            self.lost.pop().close()
        raise Unavailable(f"{said} and was restarted. The picture is painted again when it is back")

    def _wait_for_strangers(self) -> None:
        """Return when the WebUI is idle, or when all that was there before us is done.

        Whoever comes after us is not waited for, or a steady queue would starve this one: the WebUI's own queue
        is first come, first served, and our request stands alone. So jobs are counted: the one that runs, and those
        that wait when we come. A job is known by its start, for its name changes on the way ("Batch 2 out of 2").
        """
        if time.monotonic() - self._idle_at < IDLE_FOR:
            return  # our own look after the last picture
        job = self.look()
        if not job.running:
            return
        ahead, seen = 1, {job.job_timestamp}
        with suppress(WebUIError):  # no /internal routes, or too slow to tell
            ahead += len(self._client.pending_tasks())
        busy = f"the WebUI is busy with somebody's job {job.job or '(starting)'}, {ahead} ahead of us"
        self.say(busy)
        pace = Pace()
        while job.running and len(seen) <= ahead and not self.leaving.wait(STRANGER_POLL):
            self.may_send()
            with suppress(CallTimedOut):  # one slow look does not mean that it is done
                job = self._client.job_state().state
                seen.add(job.job_timestamp)
                pace.read(job)
            still = pace.seconds_without_news
            stuck = f"; it stands still for {still // 60:.0f} min: look at the WebUI, nobody else's job is interrupted"
            self.say(busy + stuck if still > LONGEST_STILL else busy)
