"""The gallery's files: found by their paths, starred, moved to the bin and back.

A star is an empty file beside the picture, with its name and the ending ``.star``; a rejected picture lies under
``.bin/`` in the gallery, at the path that it had. So both are facts of the picture, whatever becomes of an index, and
nothing that reads the JSON beside a picture meets a change.
"""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

BIN = ".bin"
STAR = ".star"
BESIDE = (".json", STAR)  # what goes where its picture goes


def locate(gallery: Path, path: str, *endings: str) -> Path:
    """A file of the gallery by its path below it; a picture, unless other endings are given.

    Raises:
        FileNotFoundError: there is none. Whether there is one outside of the gallery is not said.
    """
    try:
        root = gallery.resolve()
        file = (root / path).resolve()  # where it leads, links followed
        if file.is_relative_to(root) and file.suffix in (endings or (".png",)) and file.is_file():
            return file
    except (OSError, RuntimeError, ValueError):
        pass  # a name that no file can have
    raise FileNotFoundError(f"the gallery has no such picture: {path[:200]!r}. Was it moved or rejected?")


def star(gallery: Path, path: str, on: bool) -> None:
    """Star a picture, or take its star away."""
    mark = locate(gallery, path).with_suffix(STAR)
    mark.touch() if on else mark.unlink(missing_ok=True)


def reject(gallery: Path, path: str) -> str:
    """Move a picture to the bin, and what lies beside it; returns where it is now, as a path below the gallery."""
    return path if in_bin(path) else _move(gallery, path, f"{BIN}/{_below(gallery, path)}")


def restore(gallery: Path, path: str) -> str:
    """Move a picture out of the bin, to where it was, under another number where its name is taken by now."""
    return _move(gallery, path, _below(gallery, path).removeprefix(f"{BIN}/"))


def empty(gallery: Path) -> None:
    """Remove for good what is in the bin."""
    if (gallery / BIN).is_dir():
        shutil.rmtree(gallery / BIN)


def in_bin(path: str) -> bool:
    """Whether the path is one of the bin."""
    return path.startswith(f"{BIN}/")


def _below(gallery: Path, path: str) -> str:
    return locate(gallery, path).relative_to(gallery.resolve()).as_posix()


def _move(gallery: Path, path: str, to: str) -> str:
    file = locate(gallery, path)
    target = _reserved(gallery.resolve() / to)
    for ending in BESIDE:
        if (beside := file.with_suffix(ending)).exists():
            beside.replace(target.with_suffix(ending))
    file.replace(target)
    return target.relative_to(gallery.resolve()).as_posix()


def _reserved(wanted: Path) -> Path:
    """A free name, taken with an empty file, so that nobody else writes there meanwhile."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
        try:
            path.touch(exist_ok=False)
            return path
        except FileExistsError:
            continue
    raise AssertionError("numbers do not end")
