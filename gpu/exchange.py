"""One request on its way to the WebUI, and its answer on the way back."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from gpu.job import Job
from gpu.request import Request
from gpu.turn import Turn
from webui.errors import AnswerLost, Interrupted, Skipped, Stalled, Unavailable, WebUIError
from webui.http import Received, encoded
from webui.models import Generation, ImageInfo, State

UPSCALE = "extras"  # what a WebUI calls its job while it upscales


@dataclass(frozen=True)
class Answer:
    """What the WebUI gave for a request; ``seconds`` from sending to answer."""

    request: Request
    received: Received
    job: Job
    seconds: float

    @property
    def task_id(self) -> str:
        return self.job.id

    @property
    def loaded(self) -> tuple[str, ...]:
        """The hashes of what the WebUI was seen to have loaded: while it sampled, where progress was polled then, and
        just after its answer. Waits for that look; empty where the WebUI did not tell, or nothing had to be loaded.
        """
        self.job.looked.wait()
        return tuple(self.job.loaded)

    @cached_property
    def generation(self) -> Generation:
        """The pictures and their info, decoded when they are first looked at.

        Raises:
            BadAnswer, BrokenImage: they are something else.
        """
        if self.request.is_upscale:
            return Generation([self.received.image()], ImageInfo(all_seeds=list(self.request.seeds)))
        return self.received.generation()


class Exchange:
    """A request, encoded from the start; sent by a thread of its own.

    Attributes:
        sent: set when all of it is on the wire, or never will be.
        answer: what came back, or why nothing did.
    """

    def __init__(self, request: Request, job: Job, turn: Turn) -> None:
        self.request, self.job = request, job
        self.sent = threading.Event()
        self.answer: Future[Answer] = Future()
        self.started = False
        self._turn = turn
        self._body = encoded(request.body(job.id))

    def start(self, previous: Exchange | None, *, ahead: bool, is_last: bool) -> None:
        """Send it when ``previous`` is answered; ``ahead``: only if that succeeded. After the answer to the last one
        the GPU is given back."""
        self.started = True
        # A daemon, because a WebUI that hangs may never answer, and the process has to end all the same.
        threading.Thread(target=self._run, args=(previous, ahead, is_last), name="exchange", daemon=True).start()

    def give_up_if_hung(self) -> None:
        """Stop it if its progress stands still, or nothing was heard of it for the generation time-out."""
        pace, patience = self.job.pace, self.job.client.timeouts.generation
        with suppress(WebUIError):
            if not self.request.is_upscale:
                self.job.progress()
            elif (state := self._turn.look()).running and state.job != UPSCALE:
                pace.begin()  # it waits behind somebody's picture
        still = pace.seconds_without_news if self.request.is_upscale else pace.still_for
        limit = min(pace.limit, patience)
        if not self.job.awaited or (still <= limit and pace.seconds_without_news <= patience):
            return
        said = f"{self.request.title} stood still at the WebUI for {max(still, limit):.0f} s and was given up"
        if self._end(Stalled(f"{said}. If that happens again, restart the WebUI")):
            self._lose()

    def _run(self, previous: Exchange | None, ahead: bool, is_last: bool) -> None:
        try:
            if previous is not None and previous.answer.exception() is not None and ahead:
                raise Interrupted(f"{self.request.title} was not sent: the one before it failed")
            if previous is not None and previous.request.checkpoint != self.request.checkpoint:
                previous.job.looked.wait()  # before this one has another loaded
            self._turn.wait()
            answer = self._send()
            if is_last:
                self._turn.give_back()
            self._end(answer)
            if self.request.checkpoint is not None:
                self.job.look_loaded()  # while the next one goes out: a load takes longer than this look
        except BaseException as error:
            self._end(error)
        finally:
            self.sent.set()
            self.job.looked.set()  # also where it failed: the next one waits for that

    def _send(self) -> Answer:
        self.job.mark_sent()
        started = time.monotonic()
        try:
            received = self.job.client.send(self.request.endpoint, self._body, on_sent=self._is_sent, wait=0)
        except (AnswerLost, Unavailable):
            if not self.answer.done():
                self._lose()
            raise
        except BaseException:
            self.job.close()
            raise
        seconds = time.monotonic() - started
        if self.request.is_upscale:
            self.job.pace.upscaled()
        self.job.close()
        self._refuse_interrupted()
        return Answer(self.request, received, self.job, seconds)

    def _is_sent(self) -> None:
        self.sent.set()
        self._turn.say(None)

    def _lose(self) -> None:
        """The answer will not come, but the WebUI may paint on: the job is ours until it is over there."""
        self.job.awaited = False
        self._turn.lost.append(self.job)
        with suppress(WebUIError):  # else it is tried again before the next request
            self._turn.stop_lost()

    def _end(self, outcome: Answer | BaseException) -> bool:
        """Whether that came first: what is given up may be answered all the same."""
        try:
            if isinstance(outcome, Answer):
                self.answer.set_result(outcome)
            else:
                self.job.looked.set()
                self.answer.set_exception(outcome)
        except InvalidStateError:
            return False
        return True

    def _refuse_interrupted(self) -> None:
        """An interrupted job is answered 200 with a half-denoised picture; the flag is the only sign.

        It stays up until the next job begins: ours is sent after this look, a stranger's may be faster, so the
        progress poller watches it as well. Where the look fails, what the poller saw is all there is: a picture is
        not thrown away because progress cannot be had.
        """
        if self.request.is_upscale:
            return
        state = State()
        if not self._turn.leaving.is_set():
            with suppress(WebUIError):
                state = self._turn.look()
        seen = State() if state.running else state
        dropped = "at the WebUI; the half-denoised picture that came back is dropped"
        if self.job.interrupted or seen.interrupted:
            said = f"{self.request.title} was interrupted {dropped}"
            raise Interrupted(f"{said}. To stop a job for good, cancel its run in Prefect")
        if self.job.skipped or seen.skipped:
            raise Skipped(f"{self.request.title} was skipped {dropped}. If you want it after all, queue the job again")
