"""The gallery over HTTP: pictures and what lies beside them, thumbnails, several as one zip file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import quote
from uuid import UUID
from zipfile import ZipFile, ZipInfo

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel

from backlog import queue
from blocks.gallery import Gallery
from catalog.files import locate
from catalog.index import Index
from catalog.record import Made
from catalog.thumbnails import Size, thumbnail
from store.settings import settings

router = APIRouter(tags=["pictures"])
MOST = 200  # pictures in one zip file: as many paths as an address takes
PIECE = 1024 * 1024  # bytes of a picture that are held while it is packed
# The page names the version of a picture in its address; a program may ask again with the tag that it was given.
HEADERS = {"Cache-Control": "private, max-age=600", "X-Content-Type-Options": "nosniff"}


class Addresses(BaseModel):
    """Where a picture of a task is: its path below the gallery, and its addresses here."""

    path: str
    picture: str
    thumbnail: str


def catalog() -> Index:
    """The index over the gallery of the block ``gallery/default``; over the project's where that is no local folder."""
    gallery = Gallery.chosen(None)
    folder = settings().gallery if gallery.file_system else gallery.local_folder
    return Index(folder, settings().home / "catalog")


def picture_address(path: str, version: int = 0) -> str:
    """Of a file of the gallery, by its path below it."""
    return f"/pictures/{quote(path)}" + (f"?v={version}" if version else "")


def thumbnail_address(path: str, size: Size = Size.MEDIUM, version: int = 0) -> str:
    return f"/pictures/thumb/{quote(path)}?size={size.value}" + (f"&v={version}" if version else "")


def zip_address(made: list[Made]) -> str:
    return "/pictures/zip?" + "&".join(f"path={quote(one.path)}" for one in made[:MOST])


@router.get("/task-scheduler/queue/{task}/pictures")
def of_task(request: Request, task: UUID) -> list[Addresses]:
    """A task's pictures that are in the local gallery, in order."""
    root = request.app.state.catalog.gallery.resolve()
    files = [Path(file) for file in queue.show(request.app.state.prefect, task).result_images]
    paths = [file.relative_to(root).as_posix() for file in files if file.is_relative_to(root) and file.is_file()]
    return [Addresses(path=one, picture=picture_address(one), thumbnail=thumbnail_address(one)) for one in paths]


@router.get("/pictures/zip")
def pack(request: Request, path: Annotated[list[str], Query(min_length=1, max_length=MOST)]) -> StreamingResponse:
    """Pictures, each with its JSON, by their paths below the gallery. What goes while it is packed is left out."""
    files = {one: _found(request, one) for one in path}
    headers = HEADERS | {"Content-Disposition": 'attachment; filename="pictures.zip"'}
    return StreamingResponse(_packed(files), media_type="application/zip", headers=headers)


@router.get("/pictures/thumb/{path:path}")
def small(request: Request, path: str, size: Size = Size.MEDIUM) -> Response:
    """A picture as a JPEG of at most ``size`` pixels a side."""
    index: Index = request.app.state.catalog
    try:
        return _sent(request, thumbnail(index.gallery, index.thumbnails, path, size))
    except OSError as error:
        raise HTTPException(404, str(error)) from None
    except ValueError as error:
        raise HTTPException(422, str(error)) from None


@router.get("/pictures/{path:path}")
def picture(request: Request, path: str) -> Response:
    """A picture of the gallery, or the JSON beside it; nothing outside of it."""
    return _sent(request, _found(request, path, ".png", ".json"))


def _found(request: Request, path: str, *endings: str) -> Path:
    try:
        return locate(request.app.state.catalog.gallery, path, *endings)
    except FileNotFoundError as error:
        raise HTTPException(404, str(error)) from None


def _sent(request: Request, file: Path) -> Response:
    """A file, or only that it is still the one that the client has."""
    stat = file.stat()
    headers = HEADERS | {"ETag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(file, stat_result=stat, headers=headers)


class _Pieces(io.RawIOBase):
    """What a zip file is written into, to be taken away piece by piece; it can't be sought in."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: object) -> int:
        self._pieces.append(bytes(piece))  # type: ignore[call-overload]  # zipfile writes bytes
        return len(self._pieces[-1])

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _packed(files: dict[str, Path]) -> Iterator[bytes]:
    """A zip file, a piece at a time; not compressed, for a PNG is."""
    out = _Pieces()
    with ZipFile(out, "w") as packed:
        for path, file in files.items():
            for name, source in ((path, file), (path.removesuffix(".png") + ".json", file.with_suffix(".json"))):
                try:
                    opened = source.open("rb")
                except OSError:
                    continue
                with opened, packed.open(ZipInfo(name.lstrip("/")), "w", force_zip64=True) as into:
                    while piece := opened.read(PIECE):
                        into.write(piece)
                        yield out.taken()
    yield out.taken()
