"""A pen for shapes with an edge, in a frame of its own: 100 units are the thing's size, y points down.

A path is text: "x y x y ...", a smooth curve where it starts with "~", the right half of a symmetric outline where
it starts with "|", drawn at -x as well where it starts with "=". An oval is "x y rx ry".
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Tone = Sequence[float]
Colour = tuple[int, int, int]
WHITE, BLACK, LAMP = (255, 255, 255), (20, 18, 24), (255, 222, 130)  # a lamp is as bright at night
_FADE = Image.fromarray((np.clip(1 - np.hypot(*np.mgrid[-1:1:64j, -1:1:64j]), 0, 1) ** 1.3 * 255).astype(np.uint8))


class Pen:
    def __init__(self, sheet: Image.Image, light: Tone):
        self.sheet, self.light = sheet, light
        self._draw = ImageDraw.Draw(sheet, "RGBA")

    def at(self, x: float, y: float, size: float, haze: Tone = BLACK, hazy: float = 0.0) -> "Pen":
        """Origin in 0..1 of the picture, size in its short sides, and the air in between."""
        self._x, self._y, self._unit = x * self.sheet.width, y * self.sheet.height, size * min(self.sheet.size) / 100
        self._haze, self._hazy = haze, hazy
        return self

    def fill(self, path: str, tone: Tone, alpha: float = 1) -> None:
        for points in self._points(path):
            self._draw.polygon(points, self._ink(tone, alpha))

    def line(self, path: str, width: float, tone: Tone, alpha: float = 1) -> None:
        for points in self._points(path):
            self._draw.line(points, self._ink(tone, alpha), max(1, round(width * self._unit)), joint="curve")

    def oval(self, path: str, tone: Tone, alpha: float = 1) -> None:
        rx, ry = (float(radius) * self._unit for radius in path.split()[2:])
        for (x, y), _ in self._points(path):
            self._draw.ellipse((x - rx, y - ry, x + rx, y + ry), self._ink(tone, alpha))

    def soft(self, path: str, tone: Tone, alpha: float) -> None:
        """An oval that fades out from its middle: shade, blush, shine."""
        rx, ry = (float(radius) * self._unit for radius in path.split()[2:])
        fade = _FADE.resize((max(1, round(2 * rx)), max(1, round(2 * ry)))).point(lambda level: round(level * alpha))
        for (x, y), _ in self._points(path):
            self.sheet.paste(self._ink(tone, 1)[:3], (round(x - rx), round(y - ry)), fade)

    def _points(self, path: str) -> list[list[tuple[float, float]]]:
        numbers = [float(number) for number in path.lstrip("=~|").split()]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        if "|" in path:
            points += [(-x, y) for x, y in reversed(points)]
        if "~" in path or "|" in path:  # Catmull-Rom
            knots = np.array([points[0], *points, points[-1]])
            a, b, c, d = knots[:-3], knots[1:-2], knots[2:-1], knots[3:]
            t = np.linspace(0, 1, 8)[:, None, None]
            between = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * b - 3 * c + d - a)))
            points = between.swapaxes(0, 1).reshape(-1, 2).tolist()
        sides = (1, -1) if "=" in path else (1,)
        return [[(self._x + side * x * self._unit, self._y + y * self._unit) for x, y in points] for side in sides]

    def _ink(self, tone: Tone, alpha: float) -> tuple[int, ...]:
        light = (1, 1, 1) if tone == LAMP else self.light
        lit = (c * k + (h - c * k) * self._hazy for c, k, h in zip(tone, light, self._haze, strict=True))
        return *map(round, lit), round(255 * alpha)


def mix(a: Tone, b: Tone, share: float) -> Colour:
    red, green, blue = (round(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return red, green, blue
