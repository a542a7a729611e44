"""Small JPEGs of the gallery's pictures, each made once and kept in a folder that may be deleted at any time."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from enum import IntEnum
from pathlib import Path

from catalog.files import locate
from store.files import write_whole
from store.picture import LARGEST_FILE, decoded


class Size(IntEnum):
    """Pixels of the longer side."""

    SMALL = 192
    MEDIUM = 384
    LARGE = 1536


# Pictures decoded at a time: one of 8192 × 8192 pixels takes 256 MiB for the file at most, and as much decoded.
_decoding = threading.Semaphore(2)


def thumbnail(gallery: Path, folder: Path, path: str, size: Size) -> Path:
    """The JPEG of a picture, which is made where there is none of its present content; never larger than the picture.

    Raises:
        FileNotFoundError: the gallery has no such picture.
        ValueError: it is no picture that can be read, or larger than 256 MiB or 8192 pixels a side.
    """
    file = locate(gallery, path)
    made = file.stat()
    small = _place(folder, path, size)
    if small.exists() and small.stat().st_mtime_ns == made.st_mtime_ns:
        return small
    if made.st_size > LARGEST_FILE:
        raise ValueError(f"{path}: {made.st_size:,} bytes are too many for a picture")
    with _decoding:
        image = decoded(file.read_bytes()).convert("RGB")
        image.thumbnail((size, size))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=82)
    write_whole(small, encoded.getvalue())
    os.utime(small, ns=(made.st_mtime_ns, made.st_mtime_ns))  # says of which content it is
    return small


def forget(folder: Path, path: str) -> None:
    """Remove the thumbnails of a picture that is gone."""
    for size in Size:
        _place(folder, path, size).unlink(missing_ok=True)


def _place(folder: Path, path: str, size: Size) -> Path:
    digest = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:32]
    return folder / digest[:2] / f"{digest}-{size.value}.jpg"
