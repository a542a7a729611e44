"""What the WebUI is doing right now: counters, flags and the picture so far, shared by all threads.

Jobs write it, every progress request reads it. It keeps the real one's habits, because clients live with
them: `begin` clears the flags (an interrupt that came earlier is lost), `sampling_steps` keeps the last
job's value until the sampler of the next one starts, `end` leaves flags and counters to be looked at.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from PIL import Image


class PreviewSettings(Protocol):
    """The options that decide when a live preview is made."""

    live_previews_enable: Any
    show_progress_every_n_steps: Any


class _Defaults:
    live_previews_enable = True
    show_progress_every_n_steps = 10


class State:
    def __init__(self, previews: PreviewSettings | None = None) -> None:
        self._previews: PreviewSettings = previews or _Defaults()
        self._lock = threading.RLock()
        self._command: str | None = None
        self._commanded = threading.Event()
        self.skipped = False
        self.interrupted = False
        self.stopping_generation = False
        self.job = ""
        self.job_no = 0
        self.job_count = 0  # -1 from begin until the job knows how many passes it takes, 0 when idle
        self.job_timestamp = "0"
        self.has_refined_job_count = False
        self.sampling_step = 0
        self.sampling_steps = 0
        self.time_start: float | None = None
        self.textinfo: str | None = None
        # Called for the picture so far; only when somebody looks, so that unwatched jobs pay nothing.
        self.current_latent: Callable[[], Image.Image] | None = None
        self.current_image: Image.Image | None = None
        self.current_image_sampling_step = 0
        self.id_live_preview = 0

    # -- a job's life ------------------------------------------------------------------------------------

    def begin(self, job: str = "(unknown)") -> None:
        with self._lock:
            self.skipped = self.interrupted = self.stopping_generation = False
            self.job = job
            self.job_no = 0
            self.job_count = -1
            self.job_timestamp = datetime.datetime.now().astimezone().strftime("%Y%m%d%H%M%S")
            self.has_refined_job_count = False
            self.sampling_step = 0
            self.time_start = time.time()
            self.textinfo = None
            self.current_latent = None
            self.current_image = None
            self.current_image_sampling_step = 0
            self.id_live_preview = 0

    def begin_sampling(self, steps: int) -> None:
        with self._lock:
            self.sampling_steps = steps
            self.sampling_step = 0

    def nextjob(self) -> None:
        """One pass of the job is done: its picture is decoded."""
        with self._lock:
            if self._previews.live_previews_enable and self._previews.show_progress_every_n_steps == -1:
                self.do_set_current_image()
            self.job_no += 1
            self.sampling_step = 0
            self.current_image_sampling_step = 0

    def end(self) -> None:
        with self._lock:
            self.job = ""
            self.job_count = 0
            self.current_latent = None  # holds the last job's arrays otherwise

    # -- flags -------------------------------------------------------------------------------------------

    def skip(self) -> None:
        self.skipped = True

    def interrupt(self) -> None:
        self.interrupted = True

    def stop_generating(self) -> None:
        """Finish the picture being painted, start no other."""
        self.stopping_generation = True

    @property
    def must_stop_sampling(self) -> bool:
        return self.interrupted or self.skipped

    # -- the picture so far ------------------------------------------------------------------------------

    def set_current_image(self) -> None:
        """Make a preview if the sampler is far enough from the last one (option show_progress_every_n_steps,
        10 by default: a shorter job shows none)."""
        with self._lock:
            every = self._previews.show_progress_every_n_steps
            since = self.sampling_step - self.current_image_sampling_step
            if since >= every and self._previews.live_previews_enable and every != -1:
                self.do_set_current_image()

    def do_set_current_image(self) -> None:
        with self._lock:
            if self.current_latent is None:
                return
            self.assign_current_image(self.current_latent())
            self.current_image_sampling_step = self.sampling_step

    def assign_current_image(self, image: Image.Image) -> None:
        with self._lock:
            self.current_image = image
            self.id_live_preview += 1

    # -- what others see ---------------------------------------------------------------------------------

    def dict(self) -> dict[str, Any]:
        with self._lock:
            return {
                "skipped": self.skipped,
                "interrupted": self.interrupted,
                "stopping_generation": self.stopping_generation,
                "job": self.job,
                "job_count": self.job_count,
                "job_timestamp": self.job_timestamp,
                "job_no": self.job_no,
                "sampling_step": self.sampling_step,
                "sampling_steps": self.sampling_steps,
            }

    # -- commands to the server --------------------------------------------------------------------------

    @property
    def server_command(self) -> str | None:
        return self._command

    @server_command.setter
    def server_command(self, command: str | None) -> None:
        self._command = command
        self._commanded.set()

    def wait_for_server_command(self, timeout: float | None = None) -> str | None:
        """The next command ("stop", "kill", or "ended" by `stop()`), taken once; None after `timeout` seconds."""
        if not self._commanded.wait(timeout):
            return None
        self._commanded.clear()
        command, self._command = self._command, None
        return command
