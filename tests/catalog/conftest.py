"""A gallery of real files, as a publisher leaves them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from catalog.index import Index

Put = Callable[..., str]


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return tmp_path / "gallery"


@pytest.fixture
def index(gallery: Path, tmp_path: Path) -> Index:
    return Index(gallery, tmp_path / "catalog")


@pytest.fixture
def put(gallery: Path) -> Put:
    """Writes a picture and its JSON; ``age`` in days."""

    def write(path: str, *, prompt: str = "a boat", age: float = 1, about: dict[str, Any] | str | None = None) -> str:
        file = gallery / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png())
        when = 1_790_000_000 - age * 86_400
        os.utime(file, (when, when))
        if about is None:
            job, seed = file.parent.name, 7
            picture = {"seed": seed, "stage": "txt2img", "checkpoint": "photo", "width": 8, "height": 8}
            said = f"{prompt}\nNegative prompt: fog\nSteps: 2, Sampler: Euler, Seed: {seed}"
            about = {"picture": picture, "infotext": said, "job": job, "flow_run": "1f3a"}
        if about != "":
            file.with_suffix(".json").write_text(about if isinstance(about, str) else json.dumps(about))
        return path

    return write


def png(side: int = 8, colour: str = "teal") -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(encoded, "PNG")
    return encoded.getvalue()
