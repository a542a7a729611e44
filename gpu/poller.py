"""Polls the progress of whatever a sender sends. It never blocks, slows or fails a generation, and stops at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context

from gpu.exchange import Exchange
from gpu.progress import Bar, Reading
from gpu.sender import Sender

# What hears of progress: the request, its bar (0 to 1), seconds left if known, and what the WebUI said.
Listener = Callable[[Exchange, float, float | None, Reading], None]


def poll(
    sender: Sender, stop: threading.Event, listener: Listener, *, interval: float, preview_every: float = 0.0
) -> None:
    """Report on whatever the sender is sending, every ``interval`` seconds, until ``stop`` is set.

    ``preview_every``: seconds between two live previews; 0 for none.
    """
    # In a thread of its own: a look that hangs is not waited for when the stage ends.
    args = (_poll, sender, stop, listener, interval, preview_every)
    threading.Thread(target=copy_context().run, args=args, name="progress", daemon=True).start()
    stop.wait()


def _poll(sender: Sender, stop: threading.Event, listener: Listener, interval: float, preview_every: float) -> None:
    bar, of, previewed, preview_id = Bar(), "", 0.0, -1
    while not stop.is_set():
        if (exchange := sender.sending) is not None:
            if exchange.job.id != of:
                bar, of, preview_id = Bar(exchange.request.passes), exchange.job.id, -1  # counted anew per job
            due = preview_every > 0 and time.monotonic() - previewed >= preview_every
            previewed = time.monotonic() if due else previewed
            with suppress(Exception):  # a look that fails is skipped, and whoever hears of it cannot stop the polling
                reading = exchange.job.progress(preview_id if due else None)
                if reading is not None and exchange.job.awaited and not stop.is_set():
                    preview_id = reading.preview_id if reading.preview else preview_id
                    bar.read(reading)
                    listener(exchange, bar.shown, bar.seconds_left, reading)
        stop.wait(interval)
