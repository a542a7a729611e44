"""A canvas in unit coordinates: soft fields are numpy, shapes with an edge are Pillow, drawn oversampled."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .chance import Array, Chance
from .words import Colour

Point = tuple[float, float]
Tone = Colour | Array
WHITE = (255, 255, 255)


def mix(a: Sequence[float], b: Sequence[float], share: float) -> Colour:
    red, green, blue = (round(min(max(p + (q - p) * share, 0), 255)) for p, q in zip(a, b, strict=True))
    return red, green, blue


class Easel:
    """`paint` is (height, width, 3), 0 to 255; x runs 0..1 over the width, y 0..1 down the height."""

    def __init__(self, size: tuple[int, int], chance: Chance, backdrop: Image.Image | None = None):
        self.size, self.chance = size, chance
        width, height = size
        self.paint: Array = np.zeros((height, width, 3), np.float32)
        if backdrop is not None:
            self.paint[:] = np.asarray(backdrop)
        self.x = ((np.arange(width, dtype=np.float32) + 0.5) / width)[None, :]
        self.y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
        self.small = min(size)
        self.light: tuple[float, float, float] = (1, 1, 1)

    def lay(self, tone: object, alpha: Array | float = 1.0) -> None:
        share = alpha[..., None] if isinstance(alpha, np.ndarray) else np.float32(alpha)
        self.paint += (np.asarray(tone, np.float32) - self.paint) * share

    def clouds(self, name: str, cells: int = 4, octaves: int = 5, tall: float = 1.0) -> Array:
        return self.chance.clouds(name, self.size, cells, octaves, tall)

    def away(self, x: float, y: float) -> Array:
        """Distance from a point, in short sides of the picture."""
        width, height = self.size
        return np.hypot((self.x - x) * width / self.small, (self.y - y) * height / self.small)

    @contextmanager
    def shapes(self) -> "Iterator[Pen]":
        """A pen for shapes; they are on the canvas when the block ends."""
        zoom = 2
        width, height = self.size
        base = Image.fromarray(np.clip(self.paint, 0, 255).astype(np.uint8))
        # nearest, so that what stays uncovered comes back unchanged
        sheet = base.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
        yield Pen(sheet, self.light)
        self.paint = np.array(sheet.reduce(zoom), np.float32)


class Pen:
    """Draws in a local frame: the origin and the unit are set by `at`; y points down."""

    def __init__(self, sheet: Image.Image, light: tuple[float, float, float]):
        self.sheet, self.light = sheet, light
        self._draw = ImageDraw.Draw(sheet, "RGBA")
        self.x0, self.y0, self.unit = 0.0, 0.0, 1.0

    def at(self, x: float, y: float, unit: float) -> "Pen":
        """Origin in picture coordinates, unit in short sides of the picture."""
        self.x0, self.y0 = x * self.sheet.width, y * self.sheet.height
        self.unit = unit * min(self.sheet.size)
        return self

    def lit(self, colour: Sequence[float], alpha: float = 1.0, glow: bool = False) -> tuple[int, int, int, int]:
        light = (1, 1, 1) if glow else self.light
        red, green, blue = (round(min(c * k, 255)) for c, k in zip(colour, light, strict=True))
        return red, green, blue, round(255 * alpha)

    def _map(self, points: Sequence[Point]) -> list[Point]:
        return [(self.x0 + x * self.unit, self.y0 + y * self.unit) for x, y in points]

    def poly(self, points: Sequence[Point], colour: Sequence[float], alpha: float = 1, glow: bool = False) -> None:
        self._draw.polygon(self._map(points), self.lit(colour, alpha, glow))

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        colour: Sequence[float],
        alpha: float = 1,
        glow: bool = False,
    ) -> None:
        (left, top), (right, bottom) = self._map([(x - rx, y - ry), (x + rx, y + ry)])
        self._draw.ellipse((left, top, right, bottom), self.lit(colour, alpha, glow))

    def line(self, points: Sequence[Point], width: float, colour: Sequence[float], alpha: float = 1) -> None:
        self._draw.line(self._map(points), self.lit(colour, alpha), max(1, round(width * self.unit)), joint="curve")

    def soft(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        colour: Sequence[float],
        alpha: float = 1,
        glow: bool = False,
    ) -> None:
        """An oval that fades out from its middle: shade, blush, shine."""
        (left, top), (right, bottom) = self._map([(x - rx, y - ry), (x + rx, y + ry)])
        size = max(1, round(right - left)), max(1, round(bottom - top))
        fade = _FADE.resize(size, Image.Resampling.BILINEAR).point(lambda level: round(level * alpha))
        self.sheet.paste(self.lit(colour, 1, glow)[:3], (round(left), round(top)), fade)


def _radial() -> Image.Image:
    line = (np.arange(64, dtype=np.float32) - 31.5) / 32
    far = np.hypot(line[:, None], line[None, :])
    return Image.fromarray((np.clip(1 - far, 0, 1) ** 1.3 * 255).astype(np.uint8))


_FADE = _radial()


def curve(points: Sequence[Point], steps: int = 10) -> list[Point]:
    """A smooth line through the points (Catmull-Rom)."""
    knots = [points[0], *points, points[-1]]
    out: list[Point] = []
    for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        for i in range(steps):
            t = i / steps
            out.append(
                (
                    b[0]
                    + t
                    * (
                        (c[0] - a[0]) / 2
                        + t * (a[0] - 2.5 * b[0] + 2 * c[0] - d[0] / 2 + t * (1.5 * (b[0] - c[0]) + (d[0] - a[0]) / 2))
                    ),
                    b[1]
                    + t
                    * (
                        (c[1] - a[1]) / 2
                        + t * (a[1] - 2.5 * b[1] + 2 * c[1] - d[1] / 2 + t * (1.5 * (b[1] - c[1]) + (d[1] - a[1]) / 2))
                    ),
                )
            )
    return [*out, points[-1]]


def blurred(image: Image.Image, radius: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))
