"""The index over the gallery: a SQLite file that may be deleted at any time, and builds itself again.

How it keeps up: a folder's modification time changes when a file in it is added, removed or renamed, and whatever
Darkroom writes there is renamed into place. So a look asks for the time of each folder, and lists only those that have
changed; of these it reads the pictures that are new or have another time. The first look of a process lists every
folder, which also finds what somebody changed in place.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from catalog import files, record, thumbnails
from catalog.files import BIN, STAR, in_bin
from catalog.record import Made

T = TypeVar("T")
SETTLED = 2.0  # seconds; a folder that changed later may change again without another time (as Git's index has it)
AT_ONCE = 500  # pictures in one transaction: so many more are found, while a first look goes on
COLUMNS = ", ".join(one.name for one in fields(Made))
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS folders (path TEXT PRIMARY KEY, changed INTEGER);
CREATE TABLE IF NOT EXISTS pictures (folder, stamp, words, {COLUMNS}, PRIMARY KEY (path));
CREATE INDEX IF NOT EXISTS by_folder ON pictures (folder);
CREATE INDEX IF NOT EXISTS by_time ON pictures (rejected, made, path, words);
CREATE INDEX IF NOT EXISTS by_job ON pictures (rejected, job, made);
CREATE INDEX IF NOT EXISTS by_checkpoint ON pictures (rejected, checkpoint, made);
"""
INSERT = f"INSERT OR REPLACE INTO pictures VALUES ({', '.join('?' * (3 + len(fields(Made))))})"


@dataclass(frozen=True)
class Wanted:
    """Which pictures: empty fields admit all. Each of the ``words``, in upper or lower case, is in the prompt; ``day``
    is a local date, ``2026-11-24``; ``bin``: those in the bin instead of the others."""

    job: str = ""
    checkpoint: str = ""
    words: str = ""
    day: str = ""
    star: bool = False
    bin: bool = False

    @property
    def condition(self) -> tuple[str, list[Any]]:
        """In SQL, with its values."""
        equal = {"rejected": self.bin, "job": self.job, "checkpoint": self.checkpoint, "day": self.day}
        equal |= {"star": self.star}
        wanted = {name: value for name, value in equal.items() if value or name == "rejected"}
        words = self.words.casefold().split()
        terms = [f"{name} = ?" for name in wanted] + ["instr(words, ?) > 0"] * len(words)
        return " AND ".join(terms), [*wanted.values(), *words]


class Index:
    """The pictures below a gallery, for any number of threads.

    Args:
        gallery: a local folder; it need not be there yet.
        folder: where the index and the thumbnails lie; may be deleted at any time.
    """

    def __init__(self, gallery: Path, folder: Path) -> None:
        self.gallery, self.thumbnails = gallery, folder / "thumbnails"
        self._file = folder / "pictures.sqlite"
        self._lock = threading.Lock()
        self._looking = threading.Thread()
        self._looked = False  # whether this process has listed every folder

    def refresh(self, wait: float = 0.0) -> bool:
        """Have a look at the gallery in the background, and wait for its end for so many seconds at most; whether it
        has ended. While it goes on, what it has found is in the lists: the folders that changed last come first."""
        with self._lock:
            if not self._looking.is_alive():
                self._looking = threading.Thread(target=self._look, name="catalog", daemon=True)
                self._looking.start()
            looking = self._looking
        looking.join(wait)
        return not looking.is_alive()

    def find(self, wanted: Wanted, offset: int = 0, limit: int = 60) -> list[Made]:
        """A page of the pictures, the newest first."""
        where, values = wanted.condition
        query = f"SELECT {COLUMNS} FROM pictures WHERE {where} ORDER BY made DESC, path DESC LIMIT ? OFFSET ?"
        return [_made(row) for row in self._ask(query, *values, limit, offset)]

    def count(self, wanted: Wanted) -> int:
        where, values = wanted.condition
        return int(self._ask(f"SELECT count(*) FROM pictures WHERE {where}", *values)[0][0])

    def get(self, path: str) -> Made | None:
        """One picture by its path below the gallery."""
        return next((_made(row) for row in self._ask(f"SELECT {COLUMNS} FROM pictures WHERE path = ?", path)), None)

    def names(self, column: str, limit: int = 1000) -> list[str]:
        """The jobs, or with ``column`` "checkpoint" the checkpoints, of which there are pictures, the latest first."""
        assert column in ("job", "checkpoint")
        query = (
            f"SELECT {column} FROM pictures WHERE NOT rejected AND {column} != '' GROUP BY 1 ORDER BY max(made) DESC"
        )
        return [str(name) for (name,) in self._ask(f"{query} LIMIT ?", limit)]

    # -- what a person does with a picture; the lists have it at once. Raise FileNotFoundError: it is gone -----------

    def star(self, path: str, on: bool) -> None:
        files.star(self.gallery, path, on)
        self._list_again(path)

    def reject(self, path: str) -> str:
        """Move it to the bin; returns where it is now."""
        there = files.reject(self.gallery, path)
        self._list_again(path, there)
        return there

    def restore(self, path: str) -> str:
        """Move it out of the bin; returns where it is now."""
        there = files.restore(self.gallery, path)
        self._list_again(path, there)
        return there

    def empty_bin(self) -> None:
        """Remove for good what is in the bin."""
        files.empty(self.gallery)
        self.refresh(wait=60)

    # -- the look ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        try:
            self._with(self._walk)
            self._looked = True
        except (OSError, sqlite3.Error) as error:
            logging.getLogger(__name__).warning("the index of the gallery is not up to date: %s", error)

    def _walk(self, connection: sqlite3.Connection) -> None:
        """Every folder, those that changed last first."""
        known = {str(path): changed for path, changed in connection.execute("SELECT path, changed FROM folders")}
        inner: dict[str, list[str]] = {}
        for path in filter(None, known):
            inner.setdefault(path.rpartition("/")[0], []).append(path)
        seen, left = set(), self._with_times([""])
        while left:
            changed, folder = left.pop()
            seen.add(folder)
            same = self._looked and known.get(folder) == changed
            found = inner.get(folder, []) if same else self._list(connection, folder, changed)
            left += self._with_times(found)
        for folder in known.keys() - seen:
            self._remove(connection, [row[0] for row in connection.execute(*_of_folder("path", folder))])
            connection.execute("DELETE FROM folders WHERE path = ?", [folder])
            connection.commit()

    def _with_times(self, folders: list[str]) -> list[tuple[int, str]]:
        """Folders with when they changed, in nanoseconds, in this order; without those that can't be asked."""
        found = []
        for folder in folders:
            try:
                found.append(((self.gallery / folder).stat().st_mtime_ns, folder))
            except OSError:
                continue
        return sorted(found)

    def _list(self, connection: sqlite3.Connection, folder: str, changed: int) -> list[str]:
        """Bring the index up to date with a folder; returns the folders in it."""
        try:
            with os.scandir(self.gallery / folder) as entries:
                there = {entry.name: entry for entry in entries if _is_listed(entry.name, folder)}
        except OSError:
            there = {}
        before = dict(connection.execute(*_of_folder("path, stamp", folder)))
        now = {f"{folder}/{name}".lstrip("/"): _stamp(entry, there) for name, entry in there.items() if _is_png(entry)}
        new = sorted((path for path, stamp in now.items() if before.get(path) != stamp), key=now.__getitem__)
        while new:  # the newest first
            new, some = new[:-AT_ONCE], new[-AT_ONCE:]
            connection.executemany(INSERT, [row for path in some if (row := self._row(folder, path, now[path]))])
            connection.commit()
        self._remove(connection, list(before.keys() - now.keys()))
        settled = changed < time.time_ns() - SETTLED * 1e9
        connection.execute("INSERT OR REPLACE INTO folders VALUES (?, ?)", [folder, changed if settled else 0])
        connection.commit()
        return [f"{folder}/{name}".lstrip("/") for name, one in there.items() if one.is_dir(follow_symlinks=False)]

    def _row(self, folder: str, path: str, stamp: str) -> tuple[Any, ...] | None:
        try:
            made = record.read(self.gallery / path, path, star=stamp.endswith(STAR), rejected=in_bin(path))
        except OSError:
            return None  # it has just gone
        return (folder, stamp, made.prompt.casefold(), *astuple(made))

    def _remove(self, connection: sqlite3.Connection, paths: list[str]) -> None:
        connection.executemany("DELETE FROM pictures WHERE path = ?", [[path] for path in paths])
        for path in paths:
            thumbnails.forget(self.thumbnails, path)

    def _list_again(self, *paths: str) -> None:
        folders = {path.rpartition("/")[0] for path in paths}
        self._with(lambda connection: [self._list(connection, folder, 0) for folder in folders])

    # -- the database ------------------------------------------------------------------------------------------------

    def _ask(self, query: str, *values: Any) -> list[Any]:
        return self._with(lambda connection: connection.execute(query, values).fetchall())

    def _with(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with a connection of its own, so that a deleted file is noticed; on a new file where it is
        damaged."""
        for again in (True, False):
            try:
                with closing(self._connection()) as connection:
                    return work(connection)
            except sqlite3.DatabaseError as error:
                if type(error) is not sqlite3.DatabaseError or not again:  # a subclass says that the file is sound
                    raise
                for ending in ("", "-wal", "-shm"):
                    self._file.with_name(self._file.name + ending).unlink(missing_ok=True)
        raise AssertionError("the second time returns or raises")

    def _connection(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._file, timeout=30)
        try:
            with self._lock:  # SQLite does not wait for others here
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection


def _is_listed(name: str, folder: str) -> bool:
    """Not what is hidden, but for the bin, nor a name that UTF-8 can't write."""
    return (name[0] != "." or (name == BIN and not folder)) and name == name.encode(errors="replace").decode()


def _is_png(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".png") and entry.is_file(follow_symlinks=False)


def _stamp(entry: os.DirEntry[str], there: dict[str, os.DirEntry[str]]) -> str:
    """Changes with the picture, with the JSON beside it, and with its star; sorts by the picture's time."""
    try:
        picture = entry.stat(follow_symlinks=False)
        beside = there.get(entry.name.removesuffix(".png") + ".json")
        told = beside.stat().st_mtime_ns if beside else 0
    except OSError:
        return ""  # it has just gone
    star = STAR if entry.name.removesuffix(".png") + STAR in there else ""
    return f"{picture.st_mtime_ns:020} {picture.st_size} {told} {star}"


def _of_folder(columns: str, folder: str) -> tuple[str, list[str]]:
    return f"SELECT {columns} FROM pictures WHERE folder = ?", [folder]


def _made(row: tuple[Any, ...]) -> Made:
    made = dict(zip((one.name for one in fields(Made)), row, strict=True))
    return Made(**made | {"star": bool(made["star"]), "rejected": bool(made["rejected"])})
