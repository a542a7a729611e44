"""Files given with jobs, copied into a store and named by their content's hash.

A job's parameters carry only references (Prefect bounds a run's parameters at 512 KB), and a queued job still finds
its files when the originals have changed or gone. A path in the parameters of a run is one that somebody sent to
Prefect's API: it may lead into the inputs folder and the gallery only.
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

    A reference is returned as it is. ``beside`` is the folder of a job file that the user of this command gives: a
    relative path begins there, and an absolute one may lead anywhere. Without it a run names the file: see ``stored``.

    Raises:
        ValueError: no such file, too large, or no picture.
    """
    if not is_outside(file):
        return file
    path = stored(file) if beside is None else beside / Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"{file}: no such file (looked for {path.absolute()})")
    try:
        with path.open("rb") as given:
            return keep_picture(given.read(LARGEST + 1))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def keep_picture(content: bytes) -> str:
    """Write an encoded picture into the store; returns its reference.

    Raises:
        ValueError: no whole picture, or too large.
    """
    if len(content) > LARGEST:
        raise ValueError(f"larger than {LARGEST // 1024**2} MiB")
    ending = (decoded(content).format or "png").lower()
    return put(f"{hashlib.sha256(content).hexdigest()}.{ending}", content)


def put(name: str, content: bytes) -> str:
    """Write a file of the store; returns its reference. One that is there counts as new: it is not removed as old."""
    place(name).touch() if place(name).exists() else write_whole(place(name), content)
    return SCHEME + name


def references(text: str) -> set[str]:
    """The names of the store's files to which a text, such as a job's parameters, refers."""
    return set(re.findall(SCHEME + r"([0-9A-Za-z]+\.[0-9a-z]+)", text))


def is_reference(text: str) -> bool:
    """Whether a text is nothing but a reference to the store."""
    return re.fullmatch(SCHEME + r"[0-9a-f]{64}\.[0-9a-z]+", text) is not None


def is_outside(file: str) -> bool:
    """Whether a job's file is still a path, and no reference."""
    return not file.startswith(SCHEME)


def stored(file: str) -> Path:
    """The file that a run's parameters name: by a reference, or by a path in the inputs folder or the gallery.

    Raises:
        ValueError: there is none in these places. Whether there is one elsewhere is not said.
    """
    if is_outside(file):
        return _in_stated_folder(file)
    name = file.removeprefix(SCHEME)
    if not re.fullmatch(r"[0-9A-Za-z]+\.[0-9a-z]+", name) or not place(name).is_file():
        raise ValueError(f"{file} is not in the store {settings().store}: was the job queued on another machine?")
    return place(name)


def _in_stated_folder(file: str) -> Path:
    folders = [settings().inputs.resolve(), settings().gallery.resolve()]
    try:
        path = (folders[0] / Path(file).expanduser()).resolve()  # where it leads, links followed
        if any(path.is_relative_to(folder) for folder in folders) and path.is_file():
            return path
    except (OSError, RuntimeError, ValueError):
        pass  # a name that no file can have
    raise ValueError(
        f"{file}: no such file in {folders[0]} or {folders[1]}, from which a run may take files "
        "(DARKROOM_INPUTS, DARKROOM_GALLERY). `darkroom run` takes its own from anywhere"
    )


def place(name: str) -> Path:
    """Where the store keeps the file ``name``."""
    return settings().store / name[:2] / name
