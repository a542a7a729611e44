"""Finished pictures into the gallery, with all that made them, and a contact sheet for the Prefect UI."""

from __future__ import annotations

import base64
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel

from blocks.gallery import Gallery
from gpu.request import Picture

THUMBNAIL = 192  # pixels a side
COLUMNS = 3  # what fits beside the panel of a Prefect page
SHEET = 48  # thumbnails in one contact sheet: about 10 KB each, and Prefect's database holds them


class Published(BaseModel):
    """Where a picture went."""

    path: str
    seed: int
    stage: str
    checkpoint: str = ""
    note: str = ""


def publish(
    pictures: list[Picture], gallery: Gallery, *, job: str, run: str, started: datetime, about: dict[str, Any]
) -> list[Published]:
    """Put the pictures into the gallery, each with a JSON beside it; returns where they are.

    Args:
        job, run, started: for the names; ``started`` is local time, the same on a retry.
        about: what stands in every JSON besides the picture's own history (flow run, timings, WebUI).
    """
    published = []
    for picture in pictures:
        name = gallery.name(
            date=started.strftime("%Y-%m-%d"),
            time=started.strftime("%H-%M-%S"),
            job=job,
            seed=picture.seed,
            stage=picture.stage,
            index=f"{picture.index:04}",
            checkpoint=picture.checkpoint or "unknown",
            run=run[:8],
        )
        path = gallery.put(f"{name}.png", picture.read())
        history = json.loads(picture.sidecar.read_text())
        gallery.put_beside(path, json.dumps(history | about, indent=1).encode())
        published.append(
            Published(
                path=path, seed=picture.seed, stage=picture.stage, checkpoint=picture.checkpoint, note=picture.note
            )
        )
    return published


def contact_sheet(job: str, pictures: list[Picture], published: list[Published]) -> None:
    """A markdown artifact: thumbnails, seeds and where each picture is."""
    cells = [
        f"![{where.path}]({_thumbnail(picture.read())})<br>seed {picture.seed}"
        + (f"<br>{picture.note}" if picture.note else "")
        for picture, where in zip(pictures[:SHEET], published, strict=False)
    ]
    width = min(COLUMNS, max(1, len(cells)))
    rows = [cells[start : start + width] for start in range(0, len(cells), width)]
    sheet = [f"# {job}", "", "|" + " |" * width, "|" + "---|" * width]
    sheet += ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
    if len(pictures) > SHEET:
        sheet.append(f"\n… and {len(pictures) - SHEET} more.")
    sheet += ["", *(f"- [{where.path}]({_link(where.path)}) · seed {where.seed}" for where in published)]
    create_markdown_artifact("\n".join(sheet), key="contact-sheet", description=f"{len(pictures)} pictures of {job}")


def _thumbnail(content: bytes) -> str:
    with Image.open(io.BytesIO(content)) as image:
        small = image.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()


def _link(path: str) -> str:
    return Path(path).as_uri() if Path(path).is_absolute() else path
