"""Every random number of a picture, by name.

A stream is a blake2b hash of its names, so a layout depends neither on the order of the calls nor on the
picture's size; and every number is Gaussian underneath, so that a variation seed blends *all* of them (the
noise, the clouds, where the boat lies) the way a WebUI's subseed blends the noise.
"""

import math
from dataclasses import dataclass
from hashlib import blake2b
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]  # of float32: mypy takes NumPy's mixed arithmetic for float64
GAUSS = NormalDist()


@dataclass(frozen=True)
class Chance:
    seed: int
    subseed: int = 0
    strength: float = 0.0
    path: tuple[object, ...] = ()

    def child(self, *names: object) -> "Chance":
        return Chance(self.seed, self.subseed, self.strength, self.path + names)

    def __call__(self, name: object, low: float = 0.0, high: float = 1.0) -> float:
        """A number between `low` and `high`."""

        def gauss(seed: int) -> float:
            return GAUSS.inv_cdf((self._key(seed, name) + 1) / (2**64 + 2))

        return low + (high - low) * GAUSS.cdf(self._blend(gauss))

    def normal(self, name: object, *shape: int) -> Array:
        """An array of standard Gaussian numbers."""
        return self._blend(
            lambda seed: np.random.Generator(np.random.PCG64(self._key(seed, name))).standard_normal(shape, np.float32)
        )

    def clouds(self, name: object, size: tuple[int, int], cells: int, octaves: int, tall: float = 1) -> Array:
        """Fractal noise of about unit variance over `size` (width, height), the same at any resolution."""
        total = np.zeros(size[::-1], np.float32)
        for octave in range(octaves):
            across = cells << octave
            if octave and across > size[0]:
                break  # finer than a pixel: it would average out
            grid = self.normal((name, octave), max(2, round(across * tall)), across)
            total += 0.5**octave * stretch(grid, size)
        return total * np.float32(1.4)

    def _blend(self, draw):  # type: ignore[no-untyped-def]
        if not self.strength:
            return draw(self.seed)
        angle = min(max(self.strength, 0.0), 1.0) * math.pi / 2
        if angle == math.pi / 2:
            return draw(self.subseed)
        return math.cos(angle) * draw(self.seed) + math.sin(angle) * draw(self.subseed)

    def _key(self, seed: int, name: object) -> int:
        digest = blake2b(repr((seed, self.path, name)).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")


def stretch(grid: Array, size: tuple[int, int], how: Image.Resampling = Image.Resampling.BICUBIC) -> Array:
    return np.asarray(Image.fromarray(grid).resize(size, how))


def ramp(value: Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
