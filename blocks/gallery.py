"""Where finished pictures go."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Any, ClassVar, Protocol

from prefect.blocks.core import Block
from pydantic import Field, field_validator

from store.files import write_whole
from store.settings import settings

DEFAULT = "default"
TEMPLATE = "{date}/{job}/{job}-{seed}-{stage}"
# What the file system blocks of Prefect, fsspec, S3, GCS and SMB call it when a file is not there.
NOT_THERE = re.compile(r"(?i)not ?found|does ?n[o']t exist|no ?such|404")
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}  # Windows
FIELDS = frozenset({"date", "time", "job", "seed", "stage", "index", "checkpoint", "run"})


class _FileSystem(Protocol):
    def read_path(self, path: str) -> Any: ...
    def write_path(self, path: str, content: bytes) -> Any: ...


class Gallery(Block):
    """Keeps finished pictures, in a local folder or on any file system block of Prefect (S3, GCS, SMB).

    Example:
        ```python
        from blocks.gallery import Gallery

        gallery = Gallery.load("BLOCK_NAME")
        gallery.put("2026-11-21/castle/castle-7-txt2img.png", picture)
        ```
    """

    _block_type_name = "Gallery"
    _block_type_slug = "gallery"
    _description = "Keeps finished pictures, in a local folder or on a Prefect file system block."
    _documentation_url: ClassVar[Any] = "https://docs.prefect.io/v3/develop/blocks"
    _logo_url: ClassVar[Any] = (
        "https://raw.githubusercontent.com/PrefectHQ/prefect/420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9/assets/block-logos/filesystem.png"
    )

    # Required: Prefect refuses a reference to a block whose fields all have defaults.
    folder: str = Field(
        title="Folder",
        description="A folder on the worker's machine, or below the root of the file system block.",
        min_length=1,
    )
    file_system: str = Field(
        "",
        title="File system block",
        description="Empty for a local folder, or the slug of a file system block such as s3-bucket/pictures.",
        pattern=r"^$|^[a-z0-9-]+/[A-Za-z0-9_-]+$",
    )
    template: str = Field(
        TEMPLATE,
        title="File names",
        description=(
            "The path of a picture below the folder, without its ending. "
            "Fields: {date} {time} {job} {seed} {stage} {index} {checkpoint} {run}."
        ),
    )

    @field_validator("template")
    @classmethod
    def _known_fields(cls, template: str) -> str:
        try:
            used = [part[1:] for part in Formatter().parse(template) if part[1] is not None]
        except ValueError as error:
            raise ValueError(f"the template's braces do not match: {error}") from None
        if any(name not in FIELDS or spec or conversion for name, spec, conversion in used):
            raise ValueError(f"the template may use {', '.join(sorted(FIELDS))} in braces, nothing else")
        if not {"seed", "index"} & {name for name, _, _ in used}:
            raise ValueError("the template needs {seed} or {index}: the pictures of a job would share one name")
        return template

    def name(self, **fields: object) -> str:
        """A picture's path below the folder, without ending: readable, and never outside the gallery.

        Every field, a job's name among them, loses what a path or a shell would take apart; dot segments and
        absolute paths in the template are dropped.
        """
        path = self.template.format_map({key: _plain(value) for key, value in fields.items()})
        parts = [_segment(part) for part in path.replace("\\", "/").split("/")]
        return "/".join(part for part in parts if part)

    def put(self, name: str, content: bytes) -> str:
        """Write ``content`` whole at ``name``; returns where it now is, as a person would open it.

        A name that is taken by other content gets a number: nothing in a gallery is ever overwritten. The same
        content twice (a retried run) stays one file.
        """
        stem, dot, ending = name.rpartition(".")
        for number in range(1, 10_000):
            path = name if number == 1 else f"{stem}-{number}{dot}{ending}"
            there = self._read(path)
            if there == content:
                return self.where(path)
            if there is None:
                return self._write(path, content)
        raise FileExistsError(f"the gallery holds 10,000 other pictures named {name}: choose another template")

    def put_beside(self, picture: str, content: bytes) -> None:
        """Write the JSON of a picture, given where :meth:`put` said that it is; an older one is replaced."""
        path = picture.removeprefix(f"{self.file_system}:" if self.file_system else f"{self.local_folder}/")
        if self.file_system:
            path = path.removeprefix(self.folder.strip("/") + "/")
        self._write(path.removesuffix(".png") + ".json", content)

    def where(self, path: str) -> str:
        """``path`` below the folder, as a person would open it."""
        if self.file_system:
            return f"{self.file_system}:{self._remote(path)}"
        return str(self.local_folder / path)

    def _read(self, path: str) -> bytes | None:
        if not self.file_system:
            local = self._local(path)
            return local.read_bytes() if local.exists() else None
        try:
            return bytes(self._loaded().read_path(self._remote(path)))
        except Exception as error:
            # Each file system block says "not there" with an error of its own. Any other is no leave to write:
            # what cannot be read just now may be a picture.
            if NOT_THERE.search(f"{type(error).__name__} {error}"):
                return None
            raise

    def _write(self, path: str, content: bytes) -> str:
        if self.file_system:
            self._loaded().write_path(self._remote(path), content)
        else:
            write_whole(self._local(path), content)
        return self.where(path)

    def _local(self, path: str) -> Path:
        if not (local := (self.local_folder / path)).resolve().is_relative_to(self.local_folder):
            raise ValueError(f"{path} would lie outside of the gallery {self.local_folder}")
        return local

    def _remote(self, path: str) -> str:
        if ".." in path.split("/"):
            raise ValueError(f"{path} would lie outside of the gallery {self.file_system}")
        return f"{self.folder.strip('/')}/{path}".lstrip("/")

    @property
    def local_folder(self) -> Path:
        """The local folder, absolute; a relative one lies beside the default gallery."""
        return (settings().gallery.parent / Path(self.folder).expanduser()).resolve()

    def _loaded(self) -> _FileSystem:
        # Held by slug, not as a nested block: a field typed as a file system cannot be registered.
        block = Block.load(self.file_system)
        if not hasattr(block, "write_path"):
            raise ValueError(f"the block {self.file_system} cannot hold files: choose a file system block")
        return block  # type: ignore[return-value]

    @classmethod
    def chosen(cls, gallery: Gallery | None) -> Gallery:
        """The one that a run's form picked, else the block named ``default``, else the project's folder."""
        if gallery is not None:
            return gallery
        try:
            return cls.load(DEFAULT)  # type: ignore[return-value]
        except ValueError:
            return cls(folder=str(settings().gallery))


def _plain(value: object) -> str:
    """``value`` with only letters, digits, dot, dash and underscore; never empty, never dots alone."""
    text = re.sub(r"[^\w.\-]+", "-", str(value)).strip("-.")
    return _cut(text, 80).strip("-.") or "untitled"


def _segment(part: str) -> str:
    """One folder's or file's name as every operating system takes it; empty for what is no name."""
    part = _cut(re.sub(r'[\x00-\x1f<>:"|?*]', "-", part).strip(), 200).rstrip(". ")
    return f"_{part}" if part.partition(".")[0].strip().upper() in RESERVED else part


def _cut(text: str, most: int) -> str:
    """``text`` in at most so many bytes: file systems count bytes, and 80 Chinese letters are 240 of them."""
    return text.encode()[:most].decode(errors="ignore")
