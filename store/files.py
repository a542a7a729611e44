"""Atomic writes: a file is either whole or not there."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # exFAT, some network and FUSE file systems


def write_whole(path: Path, content: bytes) -> Path:
    """Write ``content`` so that ``path`` never holds a part of it: temporary name, fsync, rename.

    Returns ``path``; its folders are made. A crash leaves the old file, or none.
    """
    with _written_beside(path, content) as temporary:
        temporary.replace(path)
    return path


def create_whole(path: Path, content: bytes) -> bool:
    """As :func:`write_whole`, but only where there is nothing; False where there is, whoever wrote it just now.

    On a file system without hard links the name is taken with an empty file before the whole one replaces it.
    """
    with _written_beside(path, content) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            try:
                path.touch(mode=0o644, exist_ok=False)
            except FileExistsError:
                return False
            temporary.replace(path)
    return True


@contextmanager
def _written_beside(path: Path, content: bytes) -> Iterator[Path]:
    """A file of this content in the folder of ``path``, on disk, gone afterwards unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
