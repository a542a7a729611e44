"""Every random number of a picture, by name, so that a layout depends on neither the order of calls nor the size."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]  # of float32: mypy takes NumPy's mixed arithmetic for float64


@dataclass(frozen=True)
class Chance:
    """All numbers are Gaussian underneath: a variation seed blends the noise as well as where the boat lies."""

    seed: int
    subseed: int = 0
    strength: float = 0.0  # 0 the seed's numbers, 1 the subseed's
    path: tuple[object, ...] = ()

    def child(self, *names: object) -> "Chance":
        return replace(self, path=self.path + names)

    def __call__(self, name: object, low: float = 0.0, high: float = 1.0) -> float:
        """A number from `low` to `high`, each as likely as the other."""
        return low + (high - low) * (0.5 + 0.5 * math.erf(self._blend(name, Random.gauss) / math.sqrt(2)))

    def normal(self, name: object, *shape: int) -> Array:
        """Standard Gaussian numbers."""
        return self._blend(name, lambda seed: np.random.default_rng(seed.getrandbits(64)).standard_normal(shape, "f4"))

    def clouds(self, name: object, size: tuple[int, int], cells: int, octaves: int, tall: float = 1) -> Array:
        """Fractal noise of about unit variance over `size` (width, height), the same at any resolution."""
        total = np.zeros(size[::-1], np.float32)
        for octave in range(octaves):
            across = cells << octave
            if octave == 0 or across <= size[0]:  # what is finer than a pixel would average out
                grid = Image.fromarray(self.normal((name, octave), max(2, round(across * tall)), across))
                total += np.float32(1.4 * 0.5**octave) * np.asarray(grid.resize(size, Image.Resampling.BICUBIC))
        return total

    def _blend(self, name: object, draw: Callable[[Random], Any]) -> Any:
        def drawn(seed: int) -> Any:
            return draw(Random(repr((seed, self.path, name))))

        if 0 < self.strength < 1:
            angle = self.strength * math.pi / 2  # cosine and sine keep the spread
            return math.cos(angle) * drawn(self.seed) + math.sin(angle) * drawn(self.subseed)
        return drawn(self.subseed if self.strength >= 1 else self.seed)
