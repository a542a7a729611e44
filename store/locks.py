"""Locks that the operating system frees when their process dies, SIGKILL included."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Held(Protocol):
    """A lock that is held."""

    def release(self) -> None: ...


class _Flock:
    def __init__(self, handle: int) -> None:
        self._handle = handle

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)  # closing is unlocking; a forked child must not keep it, so it is not inherited
            self._handle = -1


def hold(path: Path, *, wait: bool = True) -> Held | None:
    """Lock the file ``path`` for this process; None when it is taken and ``wait`` is off, or when it is gone.

    Waiting blocks in the kernel, so the lock is had at the moment it comes free. Where there is no ``flock``,
    filelock does the same by polling.
    """
    if fcntl is None:
        return _hold_by_polling(path, wait)
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
    return _Flock(handle)


def _hold_by_polling(path: Path, wait: bool) -> Held | None:
    from filelock import FileLock, Timeout

    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return None
    return lock
