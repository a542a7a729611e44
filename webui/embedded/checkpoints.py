"""Checkpoints: small files in a folder, the names they answer to, and the one that is in memory.

A checkpoint file is a .safetensors file; its name is its style (a user adds one by copying a file to a new
name). Like a real WebUI, the list gives no hash before a checkpoint was loaded once, new files are unseen
until a refresh, and a failed load leaves nothing in memory while the last good one counts as loaded.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SUFFIXES = (".safetensors", ".ckpt")


@dataclass(eq=False)
class Checkpoint:
    filename: Path
    name: str
    sha256: str | None = None
    title: str = ""
    ids: list[str] = field(default_factory=list)

    @property
    def name_for_extra(self) -> str:
        return self.filename.stem

    @property
    def model_name(self) -> str:
        return str(Path(self.name).with_suffix("")).replace("/", "_")

    @property
    def shorthash(self) -> str | None:
        return self.sha256[:10] if self.sha256 else None

    def listed(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "model_name": self.model_name,
            "hash": self.shorthash,
            "sha256": self.sha256,
            "filename": str(self.filename),
            "config": None,
        }


class Checkpoints:
    """The files of a folder by every name they answer to. Names match exactly, case counts."""

    def __init__(self, folder: Path, hashes: Path) -> None:
        self.folder = folder
        self._hashes = hashes
        self._known: dict[str, Any] = json.loads(hashes.read_text()) if hashes.exists() else {}
        self._by_alias: dict[str, Checkpoint] = {}
        self._all: list[Checkpoint] = []
        self.refresh()

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self._all)

    def refresh(self) -> None:
        """Read the folder anew."""
        found: list[Checkpoint] = []
        aliases: dict[str, Checkpoint] = {}
        paths = (path for path in self.folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
        for path in sorted(paths, key=lambda path: str(path).lower()):
            checkpoint = Checkpoint(path, str(path.relative_to(self.folder)))
            known = self._known.get(checkpoint.name)
            if known and known["mtime"] == path.stat().st_mtime:
                checkpoint.sha256 = known["sha256"]
            _name(checkpoint)
            found.append(checkpoint)
            aliases |= dict.fromkeys(checkpoint.ids, checkpoint)
        self._all, self._by_alias = found, aliases

    def get(self, alias: Any) -> Checkpoint | None:
        """By file name, stem, title, short hash or sha256; None if nothing is called exactly so."""
        return self._by_alias.get(alias) if isinstance(alias, str) else None

    def closest(self, text: str | None) -> Checkpoint | None:
        """As `get`, else the shortest title that contains the text (how the real one reads a refiner's or
        a second pass's checkpoint)."""
        if not text:
            return None
        inside = sorted((c for c in self._all if text in c.title), key=lambda c: len(c.title))
        return self.get(text) or (inside[0] if inside else None)

    def require(self, text: str | None) -> Checkpoint:
        """As `closest`. Raises Exception, as the real one does, where there is none."""
        found = self.closest(text)
        if found is None:
            raise Exception(f"Could not find checkpoint with name {text}")
        return found

    def compute_hash(self, checkpoint: Checkpoint) -> None:
        if checkpoint.sha256:
            return
        checkpoint.sha256 = hashlib.sha256(checkpoint.filename.read_bytes()).hexdigest()
        _name(checkpoint)
        self._by_alias |= dict.fromkeys(checkpoint.ids, checkpoint)
        mtime = checkpoint.filename.stat().st_mtime
        self._known[checkpoint.name] = {"mtime": mtime, "sha256": checkpoint.sha256}
        self._hashes.write_text(json.dumps(self._known, indent=1))


def _name(checkpoint: Checkpoint) -> None:
    short = checkpoint.shorthash
    checkpoint.title = f"{checkpoint.name} [{short}]" if short else checkpoint.name
    checkpoint.ids += [checkpoint.name, checkpoint.name_for_extra, checkpoint.model_name, checkpoint.title]
    if short and checkpoint.sha256:
        checkpoint.ids += [short, checkpoint.sha256, f"{checkpoint.name_for_extra} [{short}]"]


@dataclass(frozen=True)
class Model:
    """What is in memory."""

    sd_checkpoint_info: Checkpoint


class Loader:
    """Keeps one checkpoint in memory.

    `select` only says which one is wanted; `reload` loads it when a job needs it. `load_time` is how many
    seconds a load takes. `on_load` (from the faults) may name another file, or raise.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        load_time: float,
        on_load: Callable[[str], str] | None = None,
        on_loaded: Callable[[Checkpoint], None] | None = None,
    ) -> None:
        self._checkpoints = checkpoints
        self.load_time = load_time
        self._on_load = on_load
        self._on_loaded = on_loaded
        self._wanted: tuple[Checkpoint | None, tuple[str, ...]] = (None, ())
        self._loaded_for: tuple[Path, tuple[str, ...]] | None = None
        self._model: Model | None = None
        self.loads = 0

    @property
    def wanted(self) -> Checkpoint | None:
        return self._wanted[0]

    def select(self, checkpoint: Checkpoint | None, modules: tuple[str, ...] = ()) -> None:
        self._wanted = (checkpoint, modules)

    def reload(self) -> Model:
        """The wanted model, loaded if it is not the last one that loaded.

        After a failed load that last one is taken for loaded though nothing is in memory, and what comes
        back has no `sd_checkpoint_info`: the recorded way of the real one, until another model loads.
        Raises ValueError if there is no checkpoint or its file can't be read.
        """
        checkpoint, modules = self._wanted
        if checkpoint is None:
            raise ValueError(
                "You do not have any model! Please download at least one model in [models/Stable-diffusion]."
            )
        parameters = (checkpoint.filename, modules)
        if self._loaded_for == parameters:
            return self._model  # type: ignore[return-value]  # None after a failed load, see above
        self._model = None
        loaded = self._load(checkpoint)
        self._model, self._loaded_for = Model(loaded), parameters
        return self._model

    def _load(self, checkpoint: Checkpoint) -> Checkpoint:
        if self._on_load:
            asked = checkpoint.filename.name
            got = self._on_load(asked)
            checkpoint = checkpoint if got == asked else (self._checkpoints.get(got) or checkpoint)
        _check_file(checkpoint.filename)
        self._checkpoints.compute_hash(checkpoint)
        time.sleep(self.load_time)
        self.loads += 1
        if self._on_loaded:
            self._on_loaded(checkpoint)
        return checkpoint


def read_header(path: Path) -> None:
    """Raise ValueError, struct.error or OSError unless the file begins as a .safetensors file does."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > path.stat().st_size - 8:
            raise ValueError("HeaderTooLarge")
        json.loads(file.read(length))


def _check_file(path: Path) -> None:
    """Raise ValueError unless the file begins as a .safetensors file does, and move it out of the way: as
    Forge does (recorded), even with a file that is still being copied."""
    try:
        read_header(path)
    except OSError as error:
        raise ValueError(f"{error}\n") from error
    except (ValueError, struct.error) as error:
        reason = "HeaderTooLarge" if "HeaderTooLarge" in str(error) else "InvalidHeaderDeserialization"
        reason = "HeaderTooSmall" if isinstance(error, struct.error) else reason
        moved = path.with_name(f"{path.name}.corrupted")
        path.replace(moved)
        raise ValueError(
            f"Error while deserializing header: {reason}\nFile corrupted: {path} \n"
            f"Forge has tried to move the corrupted file to {moved} \n"
            "You may try again now and Forge will download models again. \n"
        ) from error


def write_checkpoint(path: Path, style: str | None = None) -> Path:
    """Write a checkpoint file that loads. `style` is kept in its header, so that two differ in their hash."""
    header = json.dumps({"__metadata__": {"format": "darkroom-style", "style": style or path.stem}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return path
