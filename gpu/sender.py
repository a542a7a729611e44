"""The sender to the GPU: one request after the other, with the next one on its way while the last is put away.

The WebUI runs one job at a time, so sending several gains nothing; what costs is the time between an answer and
the next request. The sender sends from a thread of its own and, as soon as an answer is there, goes on with the next
request that is not made yet; only when that is on the wire does the caller decode, check, write and thumbnail the last.

The caller's thread stays free to be cancelled: leaving the sender interrupts our own job at the WebUI, and only ours.

The sender holds the lease on the GPU from its first request to the answer to its last, not a moment longer: what is
left to do with the last picture is done while the next run paints.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType

from gpu.inflight import InFlight, clear_orphans
from gpu.lease import LONG_AGO, Lease
from gpu.request import Request
from webui.client import Received, WebUIClient, encoded
from webui.errors import CallTimedOut, Interrupted, NotFound, WebUIError
from webui.models import Generation, ImageInfo, Job

STILL_FREE = 0.05  # seconds for which a look that found the WebUI free is believed, by the next run as well
IDLE_POLL = 0.25  # seconds between two looks at somebody else's job
# Seconds, at most, that the interpreter is left to the sender until a request is on the wire: decoding the last picture
# and telling Prefect would hold it up by 5 to 40 ms, and the GPU is idle until it is there.
HEAD_START = 0.05
GIVE_UP_INTERRUPTING = 20.0  # seconds; a cancelled process is killed after 30


@dataclass(frozen=True)
class Answer:
    """What the WebUI gave for a request; ``seconds`` from sending to answer."""

    request: Request
    received: Received
    task_id: str
    seconds: float

    @cached_property
    def generation(self) -> Generation:
        """The pictures and their info, decoded when they are first looked at.

        Raises:
            BadAnswer, BrokenImage: they are something else.
        """
        if self.request.endpoint == "extra-single-image":
            return Generation([self.received.image()], ImageInfo(all_seeds=list(self.request.seeds)))
        return self.received.generation()


@dataclass(frozen=True)
class Asked:
    """A request that was handed to the sender's thread; ``gone`` when it is on the wire, or never will be."""

    answer: Future[Answer]
    gone: threading.Event


@dataclass(frozen=True)
class Prepared:
    """A request that could go at once: encoded, and noted on disk for those who outlive us."""

    task_id: str
    body: bytes
    note: InFlight


@dataclass
class Sending:
    """The request that is at the WebUI now."""

    request: Request
    task_id: str
    started: float = field(default_factory=time.monotonic)
    interrupted: bool = False  # the progress poller saw the WebUI's interrupt flag while this was running


class Sender:
    """Sends requests to one WebUI, in order; a context manager.

    Args:
        client: the WebUI.
        run: the flow run's id, part of every task id.
        lease: taken before the first request; None where nobody else is on this host.
        made: whether a request's pictures exist already, so that nothing is sent ahead that need not be made.
        on_wait: called with a reason while somebody else's job is waited for, and with None when that is over.
    """

    def __init__(
        self,
        client: WebUIClient,
        *,
        run: str,
        lease: Lease | None = None,
        made: Callable[[Request], bool] = lambda request: False,
        on_wait: Callable[[str | None], None] = lambda reason: None,
    ) -> None:
        self.client = client
        self.run = run
        self.sending: Sending | None = None
        self._lease = lease
        self.is_made = made
        self._on_wait = on_wait
        self._plan: list[Request] = []
        self._final = False
        self._asked: dict[str, Asked] = {}
        self._prepared: dict[str, Prepared] = {}
        self._waited = False  # for somebody, and nobody was told yet that it is over
        self._free_at = LONG_AGO  # when the WebUI was last seen without a job, on the monotonic clock
        self._leaving = threading.Event()
        self._give_up: float | None = None  # when to stop interrupting, on the monotonic clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sender")

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        if self._lease is not None:
            self._lease.give_back()
        self._thread.shutdown(wait=False, cancel_futures=True)
        for prepared in list(self._prepared.values()):
            prepared.note.close()

    def _leave(self) -> None:
        self._leaving.set()
        for asked in self._asked.values():
            asked.answer.cancel()
        self._interrupt_own_job()

    def take_gpu(self) -> None:
        """Wait for the lease, if it is not held, and stop what a dead run left at the WebUI."""
        if self._lease is not None and not self._lease.held:
            self._thread.submit(lambda: None)  # starts the thread, which takes up to a millisecond, before the wait
            self._waited |= self._lease.take()
            self._free_at = max(self._free_at, self._lease.free_at)
            clear_orphans(self.client)

    def plan(self, requests: Sequence[Request], *, final: bool = False) -> None:
        """What will be asked for, in this order; what is sent ahead is taken from it.

        ``final``: nothing comes after it, so that the lease is given back at its last answer.
        """
        self._plan, self._final = list(requests), final

    def prepare(self, request: Request) -> None:
        """Read and encode what ``request`` sends, before the GPU is there to wait for it.

        What is wrong with it is said when its own turn comes.
        """
        with suppress(Exception):
            self._prepare(request)

    def start(self) -> None:
        """Send the first request of the plan that is not made yet, before anybody asks for its answer."""
        first = next((planned for planned in self._plan if not self.is_made(planned)), None)
        if first is None:
            self._go_on()
            return
        with suppress(Exception):  # what is wrong with it is said when its own turn comes
            self._send(first).gone.wait(HEAD_START)

    def is_sent(self, request: Request) -> bool:
        """Whether ``request`` is at the WebUI, or back and not asked for yet."""
        return request.digest in self._asked

    def answer(self, request: Request) -> Answer:
        """The WebUI's answer to ``request``; blocks until it is there.

        Raises:
            WebUIError: it failed, or somebody interrupted it.
        """
        asked = self._send(request)
        following, ahead = self._following(request), None
        if following is not None:
            # Chained now, so that it goes out at the moment of the answer, whatever this thread does then.
            with suppress(Exception):  # what is wrong with it is said when its own turn comes
                ahead = self._send(following, after=asked.answer)
        try:
            answer = asked.answer.result()
            if ahead is not None:
                ahead.gone.wait(HEAD_START)
            return answer
        except Exception:
            if following is not None:
                self._asked.pop(following.digest, None)
            raise
        except BaseException:
            # Cancelled: the WebUI hears of it before Prefect has written down anything.
            self._leave()
            raise
        finally:
            self._asked.pop(request.digest, None)

    def _following(self, request: Request) -> Request | None:
        """The next request of the plan whose pictures are not there yet."""
        digests = [planned.digest for planned in self._plan]
        if request.digest not in digests:
            return None
        rest = self._plan[digests.index(request.digest) + 1 :]
        return next((planned for planned in rest if not self.is_made(planned)), None)

    def _is_last(self, request: Request) -> bool:
        """Whether the GPU is free after ``request``: nothing is planned after it, and nothing is tried again."""
        if not self._final or all(planned.digest != request.digest for planned in self._plan):
            return False
        others = (asked for digest, asked in list(self._asked.items()) if digest != request.digest)
        return self._following(request) is None and all(asked.answer.done() for asked in others)

    def _send(self, request: Request, *, after: Future[Answer] | None = None) -> Asked:
        """Have the sender's thread send ``request``, if ``after`` (the one before it) succeeds."""
        if request.digest not in self._asked:
            prepared = self._prepare(request)
            if after is None:
                self.take_gpu()  # held already, save for a retry of the last request
            gone = threading.Event()
            future = self._thread.submit(self._exchange, request, prepared, gone, after)
            self._asked[request.digest] = Asked(future, gone)
        return self._asked[request.digest]

    def _prepare(self, request: Request) -> Prepared:
        if request.digest not in self._prepared:
            # The random part keeps a second try apart: a WebUI shows one id twice as active and completed at once.
            task_id = f"task(darkroom-{self.run[:8]}-{request.stage}-{request.first}-{uuid.uuid4().hex[:6]})"
            body = encoded(request.body(task_id))
            self._prepared[request.digest] = Prepared(task_id, body, InFlight(self.client.base_url, task_id))
        return self._prepared[request.digest]

    def _exchange(
        self, request: Request, prepared: Prepared, gone: threading.Event, after: Future[Answer] | None
    ) -> Answer:
        """In the sender's thread: wait for strangers, send, and make sure that nobody cut it short."""
        try:
            if after is not None and (after.cancelled() or after.exception() is not None):
                raise Interrupted(f"{request.title} was not sent: the one before it failed")
            self._prepared.pop(request.digest, None)
            with closing(prepared.note):
                self._wait_for_strangers()
                if self._leaving.is_set():
                    raise Interrupted(f"{request.title} was not sent: its run is over")
                sending = self.sending = Sending(request, prepared.task_id)
                received = self.client.send(request.endpoint, prepared.body, on_sent=lambda: self._is_gone(gone))
                seconds = time.monotonic() - sending.started
                self._refuse_interrupted(sending)
                if self._lease is not None and self._is_last(request):
                    self._lease.give_back(free_at=self._free_at)
            return Answer(request, received, prepared.task_id, seconds)
        finally:
            self.sending = None
            gone.set()

    def _is_gone(self, gone: threading.Event) -> None:
        """In the sender's thread, when a request is on the wire."""
        gone.set()
        self._go_on()

    def _go_on(self) -> None:
        """Say that a wait is over: only when the GPU has its work, for Prefect takes its time to hear it."""
        if self._waited and not self._leaving.is_set():  # a cancelled run keeps its own state
            self._waited = False
            self._on_wait(None)

    def _refuse_interrupted(self, sending: Sending) -> None:
        """An interrupted job is answered 200 with a half-denoised picture; the flag is the only sign.

        It stays up until the next job begins: ours is sent after this look, a stranger's may be faster, so the
        progress poller watches it as well. Where the look fails, what the poller saw is all there is: a picture is
        not thrown away because progress cannot be had.
        """
        if sending.request.endpoint == "extra-single-image":
            return
        try:
            state = self._look()
        except WebUIError:
            state = Job()
        if sending.interrupted or (not state.running and (state.interrupted or state.skipped)):
            raise Interrupted(
                f"{sending.request.title} was interrupted or skipped at the WebUI; the half-denoised picture that "
                "came back is dropped. To stop a job for good, cancel its run in Prefect"
            )

    def _wait_for_strangers(self) -> None:
        """Return when the WebUI is free, or when all that was there before us is done.

        Whoever comes after us is not waited for, or a steady queue would starve this one: the WebUI's own queue
        is first come, first served, and our request stands alone. So jobs are counted: the one that runs, and those
        that wait when we come. A job is known by its start, for its name changes on the way ("Batch 2 out of 2").
        """
        if time.monotonic() - self._free_at < STILL_FREE:
            return  # our own look after the last picture
        try:
            job = self._look()
            if not job.running:
                return
            self._waited = True
            ahead, seen = 1 + self._waiting_at_the_webui(), {job.job_timestamp}
            self._on_wait(f"the WebUI is busy with somebody's job {job.job or '(starting)'}, {ahead} ahead of us")
            while job.running and len(seen) <= ahead and not self._leaving.wait(IDLE_POLL):
                with suppress(CallTimedOut):  # one slow look does not mean that it is done
                    job = self.client.job_state().state
                    seen.add(job.job_timestamp)
        except WebUIError:
            pass  # the request itself will say what is wrong, with its own retries

    def _look(self) -> Job:
        """The job that runs at the WebUI; remembers when there was none."""
        state = self.client.job_state().state
        self._free_at = LONG_AGO if state.running else time.monotonic()
        return state

    def _waiting_at_the_webui(self) -> int:
        try:
            return len(self.client.pending_tasks())
        except WebUIError:
            return 0  # no /internal routes, or too slow to tell

    def _interrupt_own_job(self) -> None:
        """Stop our job at the WebUI, and only ours. An interrupt that comes before a job begins is lost there,
        so it is repeated until the answer is back; what remains is left to the supervisor (see inflight)."""
        self._give_up = self._give_up or time.monotonic() + GIVE_UP_INTERRUPTING
        pause = threading.Event()
        while (sending := self.sending) is not None and time.monotonic() < self._give_up:
            if sending.request.endpoint == "extra-single-image":
                return  # has no task id, and cannot be interrupted
            with suppress(WebUIError):
                interrupt_if_ours(self.client, sending.task_id)
            pause.wait(0.1)


def interrupt_if_ours(client: WebUIClient, task_id: str) -> bool:
    """Interrupt the WebUI if the job that runs there is ``task_id``; returns whether it was.

    Where the WebUI has no ``/internal`` routes nobody can tell whose job runs, so nothing is interrupted: a wrong
    guess would cost a stranger's picture, a right one only the rest of ours.
    """
    try:
        progress = client.task_progress(task_id)
    except NotFound:
        return False
    if progress is None or not progress.active:
        return False
    client.interrupt()
    return True
