"""What a run made: the grids of its sweeps, and for its page in the Prefect UI a contact sheet and tables."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.settings import get_current_settings

from blocks.gallery import Gallery
from store.settings import settings
from tasks.publish import Published
from tasks.stage import Item
from tasks.status import due_at, this_run
from variations.grid import grids

THUMBNAIL = 320  # pixels a side
COLUMNS = 2  # what fits beside the panel of a Prefect page
SHEET = 32  # thumbnails in one contact sheet: about 20 KB each, and Prefect's database holds them


def report(name: str, items: Sequence[Item], timings: list[dict[str, Any]], gallery: Gallery) -> list[Published]:
    """Write the grids into the gallery, and the artifacts of a run; returns where the grids are. What can't be written
    is logged, and changes nothing in how the run ends.
    """
    drawn: list[Published] = []
    try:
        drawn = publish_grids(items, gallery)
        sheet = create_markdown_artifact(
            contact_sheet(name, items, drawn),
            key="contact-sheet",
            description=f"{sum(len(item.published) for item in items)} pictures of {name}",
        )
        get_run_logger().info("contact sheet: %s/artifacts/artifact/%s", get_current_settings().ui_url, sheet)
        # One after the other: two writers at once collide in Prefect's SQLite, and its client then sleeps two seconds.
        create_table_artifact(timings, key="timings", description="Seconds per stage")
        if len(items) > 1:
            rows = [{"#": number} | row(item) for number, item in enumerate(items, start=1)]
            create_table_artifact(rows, key="batch", description=f"{len(items)} jobs of {name}")
    except Exception as error:
        get_run_logger().warning("what the run made could not be listed in Prefect: %s", error)
    return drawn


def publish_grids(items: Sequence[Item], gallery: Gallery) -> list[Published]:
    """The grids of the sweeps, of each cell its first picture; none of a sweep that lacks a cell, until Retry."""
    found = []
    for name in dict.fromkeys(item.job.name for item in items if item.job.cell):
        cells = {item.job.title: item for item in reversed(items) if item.job.cell and item.job.name == name}
        made = [(item.job.cell, file) for item in reversed(cells.values()) if (file := file_of(item))]
        if len(made) < len(cells):
            get_run_logger().warning("%s: no grid, because not all of its pictures are here", name)
            continue
        cells_made = [{"cell": cell, "path": str(file)} for cell, file in made]
        about = {"flow_run": str(this_run().id), "job": name, "cells": cells_made}
        for z, image in grids(made).items():
            seed = min(item.published[1].seed for item in cells.values())
            fields = {"date": f"{due_at():%Y-%m-%d}", "time": f"{due_at():%H-%M-%S}", "job": name, "seed": seed}
            fields |= {"stage": f"grid {z}", "index": "grid", "checkpoint": "grid", "run": str(this_run().id)[:8]}
            encoded = io.BytesIO()
            image.save(encoded, "PNG")
            path = gallery.put(f"{gallery.name(**fields)}.png", encoded.getvalue())
            gallery.put_beside(path, json.dumps(about, indent=1).encode())
            found.append(Published(path=path, seed=seed, stage="grid", note=z))
    return found


def row(item: Item) -> dict[str, Any]:
    """An item's line in the batch's table."""
    return {
        "job": item.job.title,
        "checkpoint": item.job.checkpoint,
        "pictures": len(item.published),
        "half-way": half_way(item),
        "at the WebUI": round(sum(picture.seconds for picture in item.pictures), 1),
        "error": str(item.error or "")[:300],
    }


def half_way(item: Item) -> str:
    """How far the pictures are that are not in the gallery: ``2 after txt2img, 1 after img2img``."""
    left = (one for one in item.pictures if one.index not in item.published and one.stage != "init")
    return ", ".join(f"{count} after {stage}" for stage, count in Counter(one.stage for one in left).items())


def contact_sheet(name: str, items: Sequence[Item], drawn: Sequence[Published]) -> str:
    """Grids, thumbnails, seeds and where each picture is, as markdown; then what is half-way."""
    published = [(item, one) for item in items for _, one in sorted(item.published.items())]
    cells = [
        # A link around the picture: Prefect's page would show neither.
        f"![{one.path}]({thumbnail(file_of(item, one.index))})<br>[seed {one.seed}]({link(one.path)})"
        + (one.note and f"<br>{one.note}")
        for item, one in published[:SHEET]
    ]
    width = min(COLUMNS, max(1, len(cells)))
    rows = [cells[start : start + width] for start in range(0, len(cells), width)]
    sheet = [f"# {name}", "", *(f"![{one.path}]({thumbnail(Path(one.path), 4 * THUMBNAIL)})\n" for one in drawn)]
    sheet += ["|" + " |" * width, "|" + "---|" * width]
    sheet += ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
    if len(published) > SHEET:
        sheet.append(f"\n… and {len(published) - SHEET} more.")
    every = [*drawn, *(one for _, one in published)]
    sheet += ["", *(f"- [{one.path}]({link(one.path)}) · seed {one.seed}" for one in every)]
    sheet += [f"- {item.job.title} is not finished: {left}" for item in items if (left := half_way(item))]
    return "\n".join(sheet)


def link(path: str) -> str:
    """Where a browser opens a published picture: at the queue's address where that is up and has the gallery."""
    with suppress(OSError, ValueError, LookupError):
        address = json.loads((settings().home / "up.json").read_text())["gateway_url"]
        inside = Path(path).resolve().relative_to(settings().gallery.resolve())
        if address:
            return f"{address}/pictures/{quote(inside.as_posix())}"
    return Path(path).as_uri() if Path(path).is_absolute() else path


def file_of(item: Item, index: int = 1) -> Path | None:
    """A published picture as this run keeps it, else as it is in the gallery; None where there is neither."""
    if index not in item.published:
        return None
    paths = [*(one.path for one in item.pictures if one.index == index), item.published[index].path]
    return next((Path(path) for path in paths if Path(path).is_file()), None)


def thumbnail(file: Path | None, side: int = THUMBNAIL) -> str:
    """A picture as a small JPEG's data URI; empty where it can't be read."""
    if file is None:
        return ""
    with suppress(OSError), Image.open(file) as image:
        small = image.convert("RGB")
        small.thumbnail((side, side))
        encoded = io.BytesIO()
        small.save(encoded, "JPEG", quality=80)
        return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()
    return ""
