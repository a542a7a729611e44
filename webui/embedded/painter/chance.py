"""Every random number of a picture, by name.

A stream is a hash of its names, so a layout depends neither on the order of the calls nor on the picture's
size; and every number is Gaussian underneath, so that a variation seed blends all of them (the noise, the
clouds, where the boat lies) the way a WebUI's subseed blends the noise.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Array = NDArray[Any]  # of float32: mypy takes NumPy's mixed arithmetic for float64


@dataclass(frozen=True)
class Chance:
    seed: int
    subseed: int = 0
    strength: float = 0.0  # 0 the seed's numbers, 1 the subseed's
    path: tuple[object, ...] = ()

    def child(self, *names: object) -> "Chance":
        return replace(self, path=self.path + names)

    def __call__(self, name: object, low: float = 0.0, high: float = 1.0) -> float:
        """A number between `low` and `high`, each as likely as the other."""

        def gauss(seed: int) -> float:
            far, turn = divmod(self._key(seed, name), 2**32)
            return math.sqrt(-2 * math.log((far + 1) / 2**32)) * math.cos(math.tau * turn / 2**32)

        return low + (high - low) * (0.5 + 0.5 * math.erf(self._blend(gauss) / math.sqrt(2)))

    def one(self, name: object, choices: Sequence[T]) -> T:
        return choices[min(int(self(name) * len(choices)), len(choices) - 1)]

    def normal(self, name: object, *shape: int) -> Array:
        """Standard Gaussian numbers."""
        return self._blend(
            lambda seed: np.random.Generator(np.random.PCG64(self._key(seed, name))).standard_normal(shape, np.float32)
        )

    def _blend(self, draw: Callable[[int], Any]) -> Any:
        if self.strength <= 0:
            return draw(self.seed)
        if self.strength >= 1:
            return draw(self.subseed)
        angle = self.strength * math.pi / 2  # squares of cosine and sine add up to 1: the spread stays
        return math.cos(angle) * draw(self.seed) + math.sin(angle) * draw(self.subseed)

    def _key(self, seed: int, name: object) -> int:
        return int.from_bytes(blake2b(repr((seed, self.path, name)).encode(), digest_size=8).digest())
