"""What a run made, for its page in the Prefect UI: a contact sheet, and tables."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.publish import Published
from tasks.stage import Item

THUMBNAIL = 192  # pixels a side
COLUMNS = 3  # what fits beside the panel of a Prefect page
SHEET = 48  # thumbnails in one contact sheet: about 10 KB each, and Prefect's database holds them


def report(name: str, items: Sequence[Item], timings: list[dict[str, Any]]) -> None:
    """Write the artifacts of a run; one that can't be written is logged, and changes nothing in how the run ends."""
    try:
        create_markdown_artifact(
            contact_sheet(name, items),
            key="contact-sheet",
            description=f"{sum(len(item.published) for item in items)} pictures of {name}",
        )
        # One after the other: two writers at once collide in Prefect's SQLite, and its client then sleeps two seconds.
        create_table_artifact(timings, key="timings", description="Seconds per stage")
        if len(items) > 1:
            rows = [{"#": number} | row(item) for number, item in enumerate(items, start=1)]
            create_table_artifact(rows, key="batch", description=f"{len(items)} jobs of {name}")
    except Exception as error:
        get_run_logger().warning("what the run made could not be listed in Prefect: %s", error)


def row(item: Item) -> dict[str, Any]:
    """An item's line in the batch's table."""
    return {
        "job": item.job.name,
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


def contact_sheet(name: str, items: Sequence[Item]) -> str:
    """Thumbnails, seeds and where each picture is, as markdown; then what is half-way."""
    published = [(item, one) for item in items for _, one in sorted(item.published.items())]
    cells = [
        f"![{one.path}]({_thumbnail(item, one)})<br>seed {one.seed}" + (f"<br>{one.note}" if one.note else "")
        for item, one in published[:SHEET]
    ]
    width = min(COLUMNS, max(1, len(cells)))
    rows = [cells[start : start + width] for start in range(0, len(cells), width)]
    sheet = [f"# {name}", "", "|" + " |" * width, "|" + "---|" * width]
    sheet += ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
    if len(published) > SHEET:
        sheet.append(f"\n… and {len(published) - SHEET} more.")
    links = [Path(one.path).as_uri() if Path(one.path).is_absolute() else one.path for _, one in published]
    sheet += ["", *(f"- [{one.path}]({to}) · seed {one.seed}" for (_, one), to in zip(published, links, strict=True))]
    sheet += [f"- {item.job.name} is not finished: {left}" for item in items if (left := half_way(item))]
    return "\n".join(sheet)


def _thumbnail(item: Item, published: Published) -> str:
    """Of the picture as this run keeps it, else as it is in the gallery; empty where neither can be read."""
    paths = [one.path for one in item.pictures if one.index == published.index] + [published.path]
    for path in paths:
        with suppress(OSError), Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            encoded = io.BytesIO()
            small.save(encoded, "JPEG", quality=80)
            return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()
    return ""
