"""Thumbnails: made once, of the present content, and bounded."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from catalog.index import Index
from catalog.thumbnails import Size, thumbnail
from tests.catalog.conftest import Put, png


def test_a_thumbnail_is_made_once_for_each_content(index: Index, put: Put, gallery: Path, tmp_path: Path) -> None:
    path, folder = put("a/one.png"), index.thumbnails
    (gallery / path).write_bytes(png(640, "red"))
    first = thumbnail(gallery, folder, path, Size.SMALL)
    written = first.stat().st_ino
    assert Image.open(first).size == (192, 192)
    assert thumbnail(gallery, folder, path, Size.SMALL).stat().st_ino == written
    (gallery / path).write_bytes(png(64, "blue"))
    os.utime(gallery / path, (5, 5))
    again = thumbnail(gallery, folder, path, Size.SMALL)
    assert Image.open(again).size == (64, 64)
    index.refresh(wait=60)
    (gallery / path).unlink()
    index.refresh(wait=60)
    assert not again.exists()  # it goes with its picture


def test_what_is_no_picture_or_claims_too_many_pixels_is_refused(put: Put, gallery: Path, tmp_path: Path) -> None:
    path = put("a/one.png")
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    for content in (b"", b"text", png()[:40], bomb):
        (gallery / path).write_bytes(content)
        with pytest.raises(ValueError, match="no picture"):
            thumbnail(gallery, tmp_path / "cache", path, Size.MEDIUM)
    with pytest.raises(FileNotFoundError):
        thumbnail(gallery, tmp_path / "cache", "../one.png", Size.MEDIUM)
