"""Polls the progress of whatever a sender sends. It never blocks, slows or fails a generation, and stops at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from gpu.exchange import Exchange
from gpu.progress import Countdown, Reading, RequestBar
from gpu.sender import Sender

# What hears of progress: the request, its bar (0 to 1), seconds left if known, and what the WebUI said.
Listener = Callable[[Exchange, float, float | None, Reading], None]


def poll(
    sender: Sender,
    stop: threading.Event,
    listener: Listener,
    *,
    interval: float,
    preview_every: float = 0.0,
) -> None:
    """Report on whatever the sender is sending, every ``interval`` seconds, until ``stop`` is set.

    ``preview_every``: seconds between two live previews; 0 for none.
    """
    readings: SimpleQueue[tuple[Exchange, Reading]] = SimpleQueue()
    # Looks are taken in a thread of their own: one that hangs is not waited for when the stage ends.
    args = (sender, stop, readings, interval, preview_every)
    threading.Thread(target=_take_readings, args=args, name="progress", daemon=True).start()
    bar, countdown, of = RequestBar(), Countdown(), ""
    while not stop.is_set():
        try:
            exchange, reading = readings.get(timeout=min(interval, 0.5))
        except Empty:
            continue
        if not exchange.job.awaited:
            continue
        if exchange.job.id != of:
            of = exchange.job.id
            bar, countdown = RequestBar(exchange.request.phases), Countdown()
        shown, eta = bar.read(reading), countdown.read(reading.fraction, reading.eta)
        with suppress(Exception):  # whoever hears of it cannot stop the polling either
            listener(exchange, shown, eta, reading)


def _take_readings(
    sender: Sender,
    stop: threading.Event,
    readings: SimpleQueue[tuple[Exchange, Reading]],
    interval: float,
    preview_every: float,
) -> None:
    previewed, preview_id, of = 0.0, -1, ""
    while not stop.is_set():
        if (exchange := sender.sending) is not None:
            if exchange.job.id != of:
                of, preview_id = exchange.job.id, -1  # a WebUI counts its previews anew for each job
            due = preview_every > 0 and time.monotonic() - previewed >= preview_every
            previewed = time.monotonic() if due else previewed
            with suppress(Exception):  # whatever it was: this look is skipped
                reading = exchange.job.progress(preview_id if due else None)
                if reading is not None:
                    preview_id = reading.preview_id if reading.preview else preview_id
                    readings.put((exchange, reading))
        stop.wait(interval)
