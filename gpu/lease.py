"""The lease: one run at a time on a host uses a WebUI's GPU, first come, first served.

Tickets in a folder per WebUI, each a file that its process keeps locked. Whoever has the lowest ticket that is
still locked has the GPU; everybody else blocks on the ticket before his own. A process that dies, by SIGKILL too,
loses its lock to the operating system, so nobody holds the lease after death and nobody waits for the dead.

Workers on other hosts are strangers to this lease and stay safe without it: every request stands alone, the WebUI's
own queue runs one job at a time, and a request waits for strangers' jobs before it is sent (see sender).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from store.locks import Held, hold

FREE_AT = "free-at"  # the file beside the tickets
LONG_AGO = float("-inf")


@dataclass(frozen=True)
class Ticket:
    """Who holds or waits for the lease. ``since`` is seconds since 1970."""

    run: str
    name: str
    pid: int
    since: float


class Lease:
    """The GPU of the WebUI at ``base_url``, to be taken and given back; a context manager does both.

    Args:
        run, name: the flow run's id and name, for those who wait.
        on_wait: called with the holder when there is one, and again when it changes.

    Attributes:
        free_at: when the last holder saw the WebUI without a job, in seconds on the host's monotonic clock; set by
            :meth:`take`.
    """

    def __init__(
        self, base_url: str, *, run: str, name: str, on_wait: Callable[[Ticket], None] = lambda holder: None
    ) -> None:
        self._base_url, self._run, self._name, self._on_wait = base_url, run, name, on_wait
        self._ticket: tuple[Path, Held] | None = None
        self.free_at = LONG_AGO

    @property
    def held(self) -> bool:
        return self._ticket is not None

    def take(self) -> bool:
        """Wait for the turn; returns whether there was somebody to wait for.

        The wait can be interrupted by a signal, so it belongs in the main thread.
        """
        folder = _folder(self._base_url)
        self._ticket = _take_ticket(folder, Ticket(self._run, self._name, os.getpid(), time.time()))
        try:
            waited = False
            while before := _living_before(folder, self._ticket[0]):
                waited = True
                if (holder := _read(before[0])) is not None:
                    self._on_wait(holder)
                # The one just before us is the last to go: when its lock is ours, look again who is left.
                if (turn := hold(before[-1])) is not None:
                    turn.release()
        except BaseException:
            self.give_back()
            raise
        self.free_at = _read_free_at(folder)
        return waited

    def give_back(self, free_at: float = LONG_AGO) -> None:
        """Let the next one have it; from any thread, as often as you like.

        ``free_at``: when the WebUI was last seen without a job, which the next one need not look for again.
        """
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            path, own = ticket
            path.with_name(FREE_AT).write_text(repr(free_at))
            path.unlink(missing_ok=True)
            own.release()

    def __enter__(self) -> Lease:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()


def queue_of(base_url: str) -> list[Ticket]:
    """The holder of the lease, then those who wait, in order."""
    folder = _folder(base_url)
    tickets = (_read(path) for path in _living_before(folder, None))
    return [ticket for ticket in tickets if ticket is not None]


def has_ticket(run: str) -> bool:
    """Whether the run holds a lease on this host, of whatever WebUI, or waits for one."""
    tickets = (_read(path) for path in _leases().glob("*/*.ticket"))
    return any(ticket is not None and ticket.run == run for ticket in tickets)


def _take_ticket(folder: Path, ticket: Ticket) -> tuple[Path, Held]:
    """The next number. The file is locked before it gets its name, so that nobody finds it unlocked."""
    counter = folder / "counter"
    counter.touch()
    turn = hold(counter)
    assert turn is not None
    try:
        number = 1 + max((int(path.stem) for path in folder.glob("*.ticket")), default=0)
        path = folder / f"{number:08}.ticket"
        unnamed = folder / "ticket.new"
        unnamed.write_text(json.dumps(asdict(ticket)))
        own = hold(unnamed)
        assert own is not None
        return unnamed.rename(path), own
    finally:
        turn.release()


def _living_before(folder: Path, path: Path | None) -> list[Path]:
    """Tickets before ``path`` (all, if None) whose process lives, in order; those of the dead are removed."""
    living = []
    for other in sorted(folder.glob("*.ticket")):
        if path is not None and other >= path:
            break
        if (dead := hold(other, wait=False)) is not None:
            other.unlink(missing_ok=True)
            dead.release()
        elif other.exists():
            living.append(other)
    return living


def _read_free_at(folder: Path) -> float:
    try:
        free_at = float((folder / FREE_AT).read_text())
    except (OSError, ValueError):
        return LONG_AGO
    return free_at if free_at <= time.monotonic() else LONG_AGO  # the clock begins anew when the host does


def _read(path: Path) -> Ticket | None:
    try:
        return Ticket(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _folder(base_url: str) -> Path:
    """One folder per WebUI and host, outside the project: two checkouts share the GPU as well."""
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = {"localhost": "127.0.0.1", "::1": "127.0.0.1"}.get(parts.hostname or "", parts.hostname)
    name = hashlib.sha256(f"{host}:{port}{parts.path.rstrip('/')}".encode()).hexdigest()[:16]
    folder = _leases() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _leases() -> Path:
    return Path(tempfile.gettempdir()) / "darkroom-leases"
