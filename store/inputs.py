"""Files given with jobs, copied into a store and named by their content's hash.

A job's parameters carry only references (Prefect bounds a run's parameters at 512 KB), and a queued job still finds
its files when the originals have changed or gone.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from store.files import write_whole
from store.picture import decoded
from store.settings import settings

SCHEME = "store:"
LARGEST = 64 * 1024 * 1024  # bytes of one given file: a 16-bit 4096 × 4096 PNG


def keep(file: str, *, beside: Path | None = None) -> str:
    """Copy a picture into the store; returns its reference, ``store:<sha256>.<ending>``.

    A reference is returned as it is. Relative paths are looked up beside the job file, then in the working
    directory.

    Raises:
        ValueError: no such file, too large, or no picture.
    """
    if not is_outside(file):
        return file
    candidates = [Path(file).expanduser()]
    if beside is not None:
        candidates.insert(0, beside / candidates[0])
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        raise ValueError(f"{file}: no such file (looked for {', '.join(str(c.absolute()) for c in candidates)})")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{file}: larger than {LARGEST // 1024**2} MiB")
    content = path.read_bytes()
    try:
        ending = (decoded(content).format or "png").lower()
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return put(f"{hashlib.sha256(content).hexdigest()}.{ending}", content)


def put(name: str, content: bytes) -> str:
    """Write a file of the store; returns its reference. One that is there counts as new: it is not removed as old."""
    place(name).touch() if place(name).exists() else write_whole(place(name), content)
    return SCHEME + name


def references(text: str) -> set[str]:
    """The names of the store's files to which a text, such as a job's parameters, refers."""
    return set(re.findall(SCHEME + r"([0-9A-Za-z]+\.[0-9a-z]+)", text))


def is_outside(file: str) -> bool:
    """Whether a job's file is still a path, and no reference."""
    return not file.startswith(SCHEME)


def stored(reference: str) -> Path:
    """The file that a reference names.

    Raises:
        ValueError: it is no reference, or the file is not in this store.
    """
    name = reference.removeprefix(SCHEME)
    if name == reference or not re.fullmatch(r"[0-9A-Za-z]+\.[0-9a-z]+", name):
        raise ValueError(f"{reference}: no picture of this name on the worker's machine (or use `darkroom run`)")
    path = place(name)
    if not path.is_file():
        raise ValueError(f"{reference} is not in the store {settings().store}: was the job queued on another machine?")
    return path


def place(name: str) -> Path:
    """Where the store keeps the file ``name``."""
    return settings().store / name[:2] / name
