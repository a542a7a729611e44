"""The sender to the GPU: one request after the other, with the next one on its way while the last is put away.

The WebUI runs one job at a time, so sending several gains nothing; what costs is the time between an answer and
the next request. As soon as an answer is there, the next request goes out; only when that is on the wire does the
caller decode, check, write and thumbnail the last.

The caller's thread stays free to be cancelled: leaving the sender interrupts our own job at the WebUI, and only ours.

The sender holds the lease on the GPU from its first request to the answer to its last: what is left to do with the
last picture is done while the next run paints.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from contextlib import suppress
from types import TracebackType

from gpu import canary
from gpu.exchange import Answer, Exchange
from gpu.job import Job
from gpu.lease import Lease
from gpu.progress import Pace
from gpu.request import Request, load_request
from gpu.restart import restart
from gpu.turn import STOP_POLL, STOPS_WITHIN, Turn
from webui.client import WebUIClient
from webui.errors import CallFailed, CheckpointLost, OutOfMemory, Stalled, WebUIError

# Seconds: longest wait until the next request is sent, before decoding takes the GIL. Decoding a picture and telling
# Prefect hold it for 5 to 40 ms, in which the GPU would be idle.
NEXT_IS_SENT_WITHIN = 0.05
LOOK_EVERY = 5.0  # seconds between two looks for a hang


class Sender:
    """Sends requests to one WebUI, in order; a context manager.

    Args:
        client: the WebUI.
        run: the flow run's id, part of every task id.
        lease: taken before the first request; None where nobody else is on this host.
        on_wait: called with a reason while somebody else's job is waited for, and with None when that is over.
        may_send: called just before each send; what it raises is raised in place of the answer, and nothing is sent.
    """

    def __init__(
        self,
        client: WebUIClient,
        *,
        run: str,
        lease: Lease | None = None,
        on_wait: Callable[[str | None], None] = lambda reason: None,
        may_send: Callable[[], None] = lambda: None,
    ) -> None:
        self.client = client
        self._run = run
        self._turn = Turn(client, lease, on_wait, may_send)
        self._plan: list[Request] = []
        self._final = False
        self._exchanges: dict[str, Exchange] = {}  # by digest: prepared, sent, or back and not asked for yet
        self._previous: Exchange | None = None  # the one that was started last
        self._paces: dict[tuple[str, tuple[int, int] | None], Pace] = {}  # by stage and size
        self._stalled: set[str] = set()  # digests of requests that stood still once

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        self._turn.give_back()

    @property
    def sending(self) -> Exchange | None:
        """The request that is at the WebUI now."""
        return next((one for one in list(self._exchanges.values()) if one.job.awaited), None)

    def take_gpu(self) -> None:
        """Wait for the lease, if it is not held."""
        self._turn.take()

    def plan(self, requests: Sequence[Request], *, final: bool = False) -> None:
        """What will be asked for, in this order; what is sent ahead is taken from it.

        ``final``: nothing comes after it, so that the lease is given back at its last answer.
        """
        self._plan, self._final = list(requests), final

    def prepare(self, request: Request) -> Exchange:
        """Read and encode what ``request`` sends, before the GPU is there to wait for it."""
        if request.digest not in self._exchanges:
            # The random part keeps a second try apart: a WebUI shows one id twice as active and completed at once.
            task_id = f"task(darkroom-{self._run[:8]}-{request.stage}-{request.first}-{uuid.uuid4().hex[:6]})"
            job = Job(self.client, task_id, self._paces.setdefault((request.stage, request.size), Pace()))
            self._exchanges[request.digest] = Exchange(request, job, self._turn)
        return self._exchanges[request.digest]

    def start(self) -> None:
        """Send the first request of the plan, if there is one, before anybody asks for its answer."""
        with suppress(Exception):  # what is wrong with it is said when its own turn comes
            self._send(self._plan[0]).sent.wait(NEXT_IS_SENT_WITHIN)

    def is_sent(self, request: Request) -> bool:
        """Whether ``request`` is on its way to the WebUI or there, or back and not asked for yet."""
        exchange = self._exchanges.get(request.digest)
        if exchange is None or not exchange.started:
            return False
        return not exchange.answer.done() or exchange.answer.exception() is None

    def check_may_send(self, request: Request) -> None:
        """Raise what ``may_send`` raises, where ``request`` is still to be sent."""
        if not self.is_sent(request):
            self._turn.may_send()

    def answer(self, request: Request) -> Answer:
        """The WebUI's answer to ``request``; blocks until it is there.

        Raises:
            Stalled: it stood still; transient at the first time.
            WebUIError: it failed, or somebody interrupted it.
        """
        exchange = self._send(request)
        following, ahead = self._following(request), None
        if following is not None:
            # Chained now: it goes out when the answer comes, whatever this thread does then.
            with suppress(Exception):  # what is wrong with it is said when its own turn comes
                ahead = self._send(following, ahead=True)
        try:
            answer = self._wait(exchange)
            if ahead is not None:
                ahead.sent.wait(NEXT_IS_SENT_WITHIN)
            return answer
        except Exception as error:
            if following is not None:
                self._exchanges.pop(following.digest, None)
            if isinstance(error, Stalled):
                error.transient = request.digest not in self._stalled
                self._stalled.add(request.digest)
            if isinstance(error, OutOfMemory):
                with suppress(OSError):
                    canary.mark(self.client.base_url)
            if isinstance(error, CheckpointLost):
                self._heal(request, error)
            raise
        except BaseException:
            # Cancelled: the WebUI hears of it before Prefect has written down anything.
            self._leave()
            raise
        finally:
            self._exchanges.pop(request.digest, None)

    def _wait(self, exchange: Exchange) -> Answer:
        """Its answer; whatever is at the WebUI meanwhile may take as long as it moves."""
        every = min(LOOK_EVERY, self.client.timeouts.generation / 4)
        while not wait([exchange.answer], timeout=every).done:
            if (sending := self.sending) is not None:
                sending.give_up_if_hung()
        return exchange.answer.result()

    def _heal(self, request: Request, error: CheckpointLost) -> None:
        """After a failed load, make the checkpoint that was there before work again: by the load of another one than
        ``request`` names, else by a restart. The error is transient then.

        Raises:
            CheckpointLost: neither could be had.
        """
        error.transient = True
        for other in self.client.checkpoints():
            if request.checkpoint is not None and other.file != request.checkpoint.file:
                asked = request.payload.get("override_settings", {})
                load = load_request(other, {**asked, "sd_model_checkpoint": other.file})
                self._exchanges.pop(load.digest, None)  # of an earlier time
                with suppress(CallFailed):
                    self._wait(self._send(load))
                    return
        if why := restart(self.client, []):
            raise CheckpointLost(f"{error}. It was not restarted by itself: {why}") from None

    def _following(self, request: Request) -> Request | None:
        """What is planned after ``request``."""
        pairs = zip(self._plan, self._plan[1:], strict=False)
        return next((after for planned, after in pairs if planned.digest == request.digest), None)

    def _send(self, request: Request, *, ahead: bool = False) -> Exchange:
        """Have ``request`` sent after the one before it; ``ahead``: only if that succeeds."""
        exchange = self.prepare(request)
        if not exchange.started:
            if not ahead:
                self.take_gpu()  # held already, save for a retry of the last request
            is_last = self._final and bool(self._plan) and self._plan[-1].digest == request.digest
            exchange.start(self._previous, ahead=ahead, is_last=is_last)
            self._previous = exchange
        return exchange

    def _leave(self) -> None:
        """Send nothing more, and stop our job at the WebUI; what remains is left to the supervisor (see job)."""
        if self._turn.leaving.is_set():
            return
        self._turn.leaving.set()
        deadline, over = time.monotonic() + STOPS_WITHIN, False
        while not over and (exchange := self.sending) is not None and time.monotonic() < deadline:
            with suppress(WebUIError):
                over = exchange.request.is_upscale or exchange.job.stop()
            wait([exchange.answer], timeout=0.0 if over else STOP_POLL)
