"""The picture of a sweep: its cells side by side, with what each column and row has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

LARGEST = 4096  # pixels a side that the cells of a grid have together, at most
GAP = 8  # pixels between cells
MOST_LINES = 4  # of a label; what does not fit is cut

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def grids(cells: Sequence[tuple[Mapping[str, str], Path]]) -> dict[str, Image.Image]:
    """A grid for each value of the third axis (one, named "", where there is none).

    Args:
        cells: the value of each axis, in the order x, y, z, and the cell's picture. A place without a cell stays empty.

    Raises:
        OSError: a picture can't be read.
    """
    drawn: dict[str, dict[tuple[str, str], Path]] = {}
    for where, picture in cells:
        x, y, z = [*(f"{name}: {value}" for name, value in where.items()), "", ""][:3]
        drawn.setdefault(z, {})[x, y] = picture
    return {z: _grid(z, pictures) for z, pictures in drawn.items()}


def _grid(title: str, pictures: Mapping[tuple[str, str], Path]) -> Image.Image:
    columns, rows = (list(dict.fromkeys(where[axis] for where in pictures)) for axis in (0, 1))
    wide, high = (max(sides) for sides in zip(*map(_size, pictures.values()), strict=True))
    scale = min(1.0, LARGEST / (wide * len(columns)), LARGEST / (high * len(rows)))
    wide, high = max(16, int(wide * scale)), max(16, int(high * scale))
    font = ImageFont.load_default(max(11, min(32, wide // 14)))
    line = round(max(font.getbbox("Åg")[3], 11) * 1.2)
    left = max(wide // 2, 96) if any(rows) else 0
    names = [fitted(column, font, wide) for column in columns]
    heading = fitted(title, font, len(columns) * (wide + GAP)) if title else []
    top = (len(heading) + max(map(len, names))) * line + 2 * GAP

    image = Image.new("RGB", (left + len(columns) * (wide + GAP) + GAP, top + len(rows) * (high + GAP)), "white")
    draw = ImageDraw.Draw(image)
    _write(draw, heading, left + GAP, GAP // 2, len(columns) * (wide + GAP), font, line)
    for number, name in enumerate(names):
        _write(draw, name, left + GAP + number * (wide + GAP), len(heading) * line + GAP, wide, font, line)
    for number, row in enumerate(rows):
        name = fitted(row, font, left - GAP) if left else []
        middle = top + number * (high + GAP) + max(0, (high - len(name) * line) // 2)
        _write(draw, name, GAP // 2, middle, left - GAP, font, line)
    for (column, row), path in pictures.items():
        with Image.open(path) as picture:
            small = picture.convert("RGB")
        small.thumbnail((wide, high), Image.Resampling.LANCZOS)
        x = left + GAP + columns.index(column) * (wide + GAP) + (wide - small.width) // 2
        image.paste(small, (x, top + rows.index(row) * (high + GAP) + (high - small.height) // 2))
    return image


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def _write(draw: ImageDraw.ImageDraw, lines: list[str], x: int, y: int, width: int, font: Font, line: int) -> None:
    """Lines of text, each in the middle of ``width``."""
    for number, text in enumerate(lines):
        draw.text((x + max(0, (width - draw.textlength(text, font)) // 2), y + number * line), text, "black", font)


def fitted(text: str, font: Font, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` pixels, broken between words where that can be."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        lines += [""] if lines[-1] else []
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    if len(lines) > MOST_LINES:
        lines = lines[:MOST_LINES]
        while lines[-1] and font.getlength(lines[-1] + "…") > width:
            lines[-1] = lines[-1][:-1]
        lines[-1] += "…"
    return lines
