"""File locks that the operating system frees when their process dies, SIGKILL included. Linux and macOS (flock)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Held:
    """A lock that is held, until ``release`` or the process's end."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)  # which unlocks: no other process has this handle
            self._handle = -1


def hold(path: Path, *, wait: bool = True) -> Held | None:
    """Lock the file ``path`` for this process; None when it does not exist, or is locked and ``wait`` is off.

    Waiting blocks in the kernel: the lock is had as soon as it is free. A forked child that does not exec keeps the
    lock as well.

    Raises:
        PermissionError: the file belongs to another user who lets nobody write it.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return Held(handle)
