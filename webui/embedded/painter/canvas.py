"""A canvas in unit coordinates: soft fields are numpy, shapes with an edge are Pillow, drawn oversampled."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageDraw

from .chance import Array, Chance
from .words import Colour

WHITE, BLACK = (255, 255, 255), (20, 18, 24)
Tone = Sequence[float]
Light = tuple[float, float, float]  # what is left of red, green and blue


class Canvas:
    """`paint` is (height, width, 3), 0 to 255; x runs 0..1 over the width, y 0..1 down the height."""

    def __init__(self, size: tuple[int, int]):
        self.size, self.short = size, min(size)
        self.paint: Array = np.zeros((*size[::-1], 3), np.float32)
        self.x = (np.arange(size[0], dtype=np.float32)[None, :] + 0.5) / size[0]
        self.y = (np.arange(size[1], dtype=np.float32)[:, None] + 0.5) / size[1]

    def lay(self, tone: Tone | Array, alpha: Array | float = 1.0) -> None:
        share = alpha[..., None] if isinstance(alpha, np.ndarray) else alpha
        self.paint += (np.asarray(tone, np.float32) - self.paint) * share

    def away(self, x: float, y: float) -> Array:
        """Distance from a point, in short sides of the picture."""
        return np.hypot((self.x - x) * self.size[0], (self.y - y) * self.size[1]) / self.short

    @contextmanager
    def pen(self, light: Light) -> "Iterator[Pen]":
        """A pen for shapes; they are on the canvas when the block ends."""
        base = Image.fromarray(np.clip(self.paint, 0, 255).astype(np.uint8))
        # nearest, so that what stays uncovered comes back unchanged
        sheet = base.resize((self.size[0] * 2, self.size[1] * 2), Image.Resampling.NEAREST)
        yield Pen(sheet, light)
        self.paint = np.array(sheet.reduce(2), np.float32)


class Pen:
    """Draws in a local frame, y down, its units set by `at`.

    A path is text: "x y x y ...", a smooth curve where it starts with "~". A `twin` is drawn at -x as well; what
    glows does not depend on the light.
    """

    def __init__(self, sheet: Image.Image, light: Light):
        self.sheet, self.light = sheet, light
        self._draw = ImageDraw.Draw(sheet, "RGBA")

    def at(self, x: float, y: float, size: float) -> "Pen":
        """Origin in picture coordinates; 100 units are `size` short sides of the picture."""
        self._origin = np.array((x * self.sheet.width, y * self.sheet.height))
        self._unit = size * min(self.sheet.size) / 100
        return self

    def fill(self, path: str, tone: Tone, alpha: float = 1, twin: bool = False, glow: bool = False) -> None:
        for points in self._points(path, twin):
            self._draw.polygon(points, self._ink(tone, alpha, glow))

    def line(self, path: str, width: float, tone: Tone, alpha: float = 1, twin: bool = False) -> None:
        for points in self._points(path, twin):
            self._draw.line(points, self._ink(tone, alpha), max(1, round(width * self._unit)), joint="curve")

    def oval(self, around: str, tone: Tone, alpha: float = 1, twin: bool = False, glow: bool = False) -> None:
        """`around` is "x y rx ry"."""
        for box in self._boxes(around, twin):
            self._draw.ellipse(box, self._ink(tone, alpha, glow))

    def soft(self, around: str, tone: Tone, alpha: float = 1, twin: bool = False, glow: bool = False) -> None:
        """An oval that fades out from its middle: shade, blush, shine."""
        for left, top, right, bottom in self._boxes(around, twin):
            size = max(1, round(right - left)), max(1, round(bottom - top))
            fade = _FADE.resize(size, Image.Resampling.BILINEAR).point(lambda level: round(level * alpha))
            self.sheet.paste(self._ink(tone, 1, glow)[:3], (round(left), round(top)), fade)

    def _points(self, path: str, twin: bool) -> Iterator[list[tuple[float, float]]]:
        points = np.array(path.removeprefix("~").split(), float).reshape(-1, 2)
        if path.startswith("~"):
            points = _curve(points)
        for side in (1, -1) if twin else (1,):
            yield [(x, y) for x, y in (self._origin + points * (side * self._unit, self._unit)).tolist()]

    def _boxes(self, around: str, twin: bool) -> Iterator[tuple[float, float, float, float]]:
        _, _, rx, ry = np.array(around.split(), float) * self._unit
        for (x, y), _ in self._points(around, twin):
            yield x - rx, y - ry, x + rx, y + ry

    def _ink(self, tone: Tone, alpha: float, glow: bool = False) -> tuple[int, ...]:
        light = (1, 1, 1) if glow else self.light
        return *(round(c * k) for c, k in zip(tone, light, strict=True)), round(255 * alpha)


def _curve(points: Array, steps: int = 8) -> Array:
    """A smooth line through the points (Catmull-Rom)."""
    knots = np.concatenate([points[:1], points, points[-1:]])
    a, b, c, d = knots[:-3], knots[1:-2], knots[2:-1], knots[3:]
    t = (np.arange(steps) / steps)[:, None, None]
    between = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * b - 3 * c + d - a)))
    return np.concatenate([between.swapaxes(0, 1).reshape(-1, 2), points[-1:]])


_MIDDLE = np.hypot(*np.meshgrid(*[np.linspace(-1, 1, 64)] * 2))
_FADE = Image.fromarray((np.clip(1 - _MIDDLE, 0, 1) ** 1.3 * 255).astype(np.uint8))


def mix(a: Tone, b: Tone, share: float) -> Colour:
    red, green, blue = (round(min(max(p + (q - p) * share, 0), 255)) for p, q in zip(a, b, strict=True))
    return red, green, blue


def ramp(value: Array | float, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((np.asarray(value, np.float32) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def stretch(grid: Array, size: tuple[int, int], how: Image.Resampling = Image.Resampling.BICUBIC) -> Array:
    return np.asarray(Image.fromarray(grid).resize(size, how))


def clouds(chance: Chance, name: object, size: tuple[int, int], cells: int, octaves: int, tall: float = 1) -> Array:
    """Fractal noise of about unit variance over `size` (width, height), the same at any resolution."""
    total = np.zeros(size[::-1], np.float32)
    for octave in range(octaves):
        across = cells << octave
        if octave and across > size[0]:
            break  # finer than a pixel: it would average out
        total += 0.5**octave * stretch(chance.normal((name, octave), max(2, round(across * tall)), across), size)
    return total * np.float32(1.4)
