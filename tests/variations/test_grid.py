"""Grids: every cell in its place, and labels that stay in theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from variations.grid import LARGEST, MOST_LINES, fitted, grids

Cells = list[tuple[dict[str, str], Path]]


def picture(folder: Path, name: str, colour: tuple[int, int, int], size: tuple[int, int] = (96, 64)) -> Path:
    path = folder / f"{name}.png"
    Image.new("RGB", size, colour).save(path)
    return path


def sweep(folder: Path, wide: int, high: int, size: tuple[int, int] = (96, 64)) -> Cells:
    return [
        (
            {"cfg_scale": str(x), "checkpoint": f"model {y}"},
            picture(folder, f"{x}-{y}", (20 * x + 9, 30 * y + 9, 0), size),
        )
        for y in range(high)
        for x in range(wide)
    ]


@pytest.mark.parametrize(("wide", "high"), [(2, 2), (12, 8), (1, 5)])
def test_each_cell_is_in_its_place(tmp_path: Path, wide: int, high: int) -> None:
    image = grids(sweep(tmp_path, wide, high))[""]
    coloured = [[pixel[2] == 0 and pixel[0] > 0 for pixel in row] for row in pixels(image)]
    starts = [n for n, row in enumerate(coloured) if any(row) and not any(coloured[n - 1])]
    assert len(starts) == high
    for y, top in enumerate(starts):
        colours = dict.fromkeys(pixel for pixel in pixels(image)[top + 20] if pixel[2] == 0 and pixel[0] % 20 == 9)
        assert [*colours] == [(20 * x + 9, 30 * y + 9, 0) for x in range(wide)]


def pixels(image: Image.Image) -> list[list[tuple[int, int, int]]]:
    raw = image.tobytes()
    flat = list(zip(raw[::3], raw[1::3], raw[2::3], strict=True))
    return [flat[start : start + image.width] for start in range(0, len(flat), image.width)]


def test_a_grid_for_each_z_and_one_row_where_there_is_no_y(tmp_path: Path) -> None:
    one = picture(tmp_path, "one", (1, 2, 3))
    made = grids([({"a": x, "b": y, "c": z}, one) for x in "12" for y in "12" for z in "89"])
    assert list(made) == ["c: 8", "c: 9"]
    [flat] = grids([({"a": x}, one) for x in "123"]).values()
    assert flat.width > 3 * 96
    assert flat.height < 64 * 2


def test_a_large_sweep_stays_in_bounds(tmp_path: Path) -> None:
    image = grids(sweep(tmp_path, 12, 8, (1024, 768)))[""]
    assert LARGEST * 0.9 < image.width < LARGEST * 1.2
    assert image.height < LARGEST


def test_pictures_of_several_sizes_keep_their_shape(tmp_path: Path) -> None:
    cells: Cells = [({"a": "1"}, picture(tmp_path, "wide", (255, 0, 0), (200, 50)))]
    cells += [({"a": "2"}, picture(tmp_path, "high", (0, 0, 255), (50, 200)))]
    [image] = grids(cells).values()
    flat = [one for row in pixels(image) for one in row]
    assert (flat.count((255, 0, 0)), flat.count((0, 0, 255))) == (200 * 50, 50 * 200)


@settings(max_examples=100, deadline=None)
@given(
    text=st.text(max_size=200) | st.text("ab cd", max_size=300), width=st.integers(40, 400), size=st.integers(11, 32)
)
def test_any_label_fits(text: str, width: int, size: int) -> None:
    font = ImageFont.load_default(size)
    lines = fitted(text, font, width)
    assert len(lines) <= MOST_LINES
    assert all(font.getlength(line) <= width for line in lines)
    if not any(line.endswith("…") for line in lines):
        assert "".join(lines).replace(" ", "") == "".join(text.split())
