"""Where finished pictures go."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from string import Formatter
from tempfile import TemporaryFile
from typing import Any, ClassVar

from prefect.blocks.core import Block
from pydantic import Field, field_validator

from blocks.saved import load_default
from store.files import create_whole, write_whole
from store.settings import settings

TEMPLATE = "{date}/{job}/{job}-{seed}-{stage}"
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}  # Windows
FIELDS = frozenset({"date", "time", "job", "seed", "stage", "index", "checkpoint", "run"})


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

        Fields lose what a path or a shell would take apart; dot segments and absolute paths are dropped.
        """
        path = self.template.format_map({key: _plain(value) for key, value in fields.items()})
        parts = [_segment(part) for part in path.replace("\\", "/").split("/")]
        return "/".join(part for part in parts if part)

    def put(self, name: str, content: bytes) -> str:
        """Write ``content`` at ``name``; returns where it now is, as a person would open it.

        A name that is taken by other content gets a number; the same content twice (a retried run) stays one file.
        In a local folder this holds for any number of processes. File system blocks cannot create a file only where
        there is none: two runs that write other content under one name in the same second can overwrite each other.
        """
        stem, dot, ending = name.rpartition(".")
        for number in range(1, 10_000):
            path = name if number == 1 else f"{stem}-{number}{dot}{ending}"
            there = self._read(path)
            if there is None:
                if self._create(path, content):
                    return self.where(path)
                there = self._read(path)  # another process was quicker
            if there == content:
                return self.where(path)
        raise FileExistsError(f"the gallery holds 10,000 other pictures named {name}: choose another template")

    def put_beside(self, picture: str, content: bytes) -> None:
        """Write the JSON of a picture, given where :meth:`put` said that it is; an older one is replaced."""
        path = picture.removesuffix(".png") + ".json"
        if self.file_system:
            self._loaded().write_path(path.removeprefix(f"{self.file_system}:"), content)
        else:
            write_whole(Path(path), content)

    def check_writable(self) -> None:
        """Find out before anything is painted whether pictures can be put here. A file system block cannot remove what
        it has written: there a file is only looked for, which needs the same address and password.

        Raises:
            OSError: they can't; says which folder it is, and what to do.
        """
        try:
            if self.file_system:
                self._read(".probe")
            else:
                self.local_folder.mkdir(parents=True, exist_ok=True)
                TemporaryFile(dir=self.local_folder).close()
        except Exception as error:
            raise OSError(
                f"The gallery {self.where('')} cannot be written: {error}. Make room, or mend the folder or the block, "
                "then Retry"
            ) from error

    def where(self, path: str) -> str:
        """``path`` below the folder, as a person would open it."""
        if self.file_system:
            return f"{self.file_system}:{self._remote(path)}"
        return str(self.local_folder / path)

    def _read(self, path: str) -> bytes | None:
        """What is at ``path``; None: nothing. What cannot be read just now may be a picture: that is an error."""
        if not self.file_system:
            local = self._local(path)
            return local.read_bytes() if local.exists() else None
        try:
            return bytes(self._loaded().read_path(self._remote(path)))
        except Exception as error:
            if is_missing(error):
                return None
            raise

    def _create(self, path: str, content: bytes) -> bool:
        """Write a new file; False where there is one in a local folder."""
        if not self.file_system:
            return create_whole(self._local(path), content)
        self._loaded().write_path(self._remote(path), content)
        return True

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

    def _loaded(self) -> Any:
        # Held by slug, not as a nested block: a field typed as a file system cannot be registered.
        block = Block.load(self.file_system)
        if not hasattr(block, "write_path"):
            raise ValueError(f"the block {self.file_system} cannot hold files: choose a file system block")
        return block

    @classmethod
    def chosen(cls, gallery: Gallery | None) -> Gallery:
        """The one that a run's form picked, else :func:`saved_gallery`, else the project's folder."""
        return gallery or saved_gallery() or cls(folder=str(settings().gallery))


def saved_gallery() -> Gallery | None:
    """The block ``gallery/default``, see :func:`load_default`."""
    return load_default(Gallery, "delete it there, and darkroom deploy writes it anew")


def is_missing(error: Exception) -> bool:
    """Whether a file system block's error says that there is no such file. fsspec and SMB raise an OSError, S3 a
    ClientError, GCS and Azure errors with a status, Prefect's LocalFileSystem a ValueError that only its words tell."""
    if isinstance(error, OSError):
        return isinstance(error, FileNotFoundError) or error.errno == errno.ENOENT
    if type(error) is ValueError:
        return re.fullmatch(r"Path .* does not exist\.", str(error), re.DOTALL) is not None
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # of botocore; a missing bucket (NoSuchBucket) is a 404 as well, but no missing file
        return answer.get("Error", {}).get("Code") in ("NoSuchKey", "404")
    return 404 in (getattr(error, "code", None), getattr(error, "status_code", None))


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
