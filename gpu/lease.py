"""The lease: one run at a time on a host uses a WebUI's GPU, first come, first served.

Tickets in a folder per WebUI, each a file that its process keeps locked. The lowest ticket that is still locked has
the GPU; everybody else blocks on the lock of the ticket before theirs. The operating system frees the locks of a
process that dies, by SIGKILL too, so nobody holds the lease after death and nobody waits for the dead.

Workers on other hosts do not see this lease and stay safe without it: every request stands alone, the WebUI's own
queue runs one job at a time, and a request waits for the jobs that are there before it (see turn).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from store.locks import Held, hold

IDLE_AT = "idle-at"  # beside the tickets; its lock guards the taking of a number, its content is what `take` returns
NEVER = float("-inf")


@dataclass(frozen=True)
class Ticket:
    """Who holds or waits for the lease."""

    run: str
    name: str
    pid: int


class Lease:
    """The GPU of the WebUI at ``base_url``, to be taken and given back by the flow run ``run``, called ``name``."""

    def __init__(self, base_url: str, *, run: str, name: str) -> None:
        self._folder, self._own = _folder(base_url), Ticket(run, name, os.getpid())
        self._taken: tuple[Path, Held] | None = None

    @property
    def held(self) -> bool:
        return self._taken is not None

    def take(self, on_wait: Callable[[Ticket], None] = lambda holder: None) -> float:
        """Wait for the lease; in the main thread, so that a signal can interrupt the wait.

        Args:
            on_wait: called with the holder when there is one, and again when it changes.

        Returns:
            When the last holder saw the WebUI without a job, in seconds on the host's monotonic clock.
        """
        self._taken = taken = _take_ticket(self._folder, self._own)
        try:
            while before := _living(self._folder, before=taken[0]):
                on_wait(before[0][1])
                # The one just before us is the last to go: when its lock is free, look again who is left.
                if (lock := hold(before[-1][0])) is not None:
                    lock.release()
        except BaseException:
            self.give_back()
            raise
        with suppress(OSError, ValueError):
            idle_at = float((self._folder / IDLE_AT).read_text())
            return idle_at if idle_at <= time.monotonic() else NEVER  # the clock begins at zero when the host does
        return NEVER

    def give_back(self, idle_at: float = NEVER) -> None:
        """Let the next one have it; from any thread, as often as you like. ``idle_at``: see ``take``."""
        taken, self._taken = self._taken, None
        if taken is not None:
            path, own = taken
            with path.with_name(IDLE_AT).open("r+") as file:
                file.write(repr(idle_at))
                file.truncate()
            path.unlink(missing_ok=True)
            own.release()


def tickets(base_url: str = "") -> list[Ticket]:
    """The holder of the lease on this host and those who wait, in order; of one WebUI, or of all."""
    folders = [_folder(base_url)] if base_url else _leases().glob("*")
    return [ticket for folder in folders for _, ticket in _living(folder)]


def _take_ticket(folder: Path, ticket: Ticket) -> tuple[Path, Held]:
    """The next number. The file is locked before it gets its name, so that nobody finds it unlocked."""
    guard = folder / IDLE_AT
    with suppress(FileExistsError):
        _create(guard)
    lock = hold(guard)
    assert lock is not None
    try:
        number = 1 + max((int(path.stem) for path in folder.glob("*.ticket")), default=0)
        unnamed = folder / f"{uuid.uuid4().hex}.new"
        _create(unnamed, json.dumps(asdict(ticket)))
        own = hold(unnamed)
        assert own is not None
        return unnamed.rename(folder / f"{number:08}.ticket"), own
    finally:
        lock.release()


def _living(folder: Path, before: Path | None = None) -> list[tuple[Path, Ticket]]:
    """The tickets whose process lives, in order, all or those ``before`` one; those of the dead are removed."""
    living = []
    for path in sorted(folder.glob("*.ticket")):
        if path == before:
            break
        if (dead := hold(path, wait=False)) is not None:
            with suppress(PermissionError):  # another user's: a sticky folder lets only them remove it
                path.unlink(missing_ok=True)
            dead.release()
        else:
            with suppress(FileNotFoundError):  # it was given back just now
                living.append((path, Ticket(**json.loads(path.read_text()))))
    return living


def _create(path: Path, content: str = "") -> None:
    """A new file that every user of this host may lock and write. O_EXCL, because Linux refuses O_CREAT on another
    user's file in a sticky folder (fs.protected_regular)."""
    with path.open("x") as file:
        os.fchmod(file.fileno(), 0o666)  # whatever the umask
        file.write(content)


def _folder(base_url: str) -> Path:
    """One folder per WebUI and host, outside the project: two checkouts share the GPU as well, and two users, unless
    each has a TMPDIR of their own."""
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = {"localhost": "127.0.0.1", "::1": "127.0.0.1"}.get(parts.hostname or "", parts.hostname)
    folder = _leases() / hashlib.sha256(f"{host}:{port}{parts.path.rstrip('/')}".encode()).hexdigest()[:16]
    for one in (folder.parent, folder):
        one.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):  # another user's, who has done it
            one.chmod(0o1777)
    return folder


def _leases() -> Path:
    return Path(tempfile.gettempdir()) / "darkroom-leases"
