"""The closed-form model of a picture: a mixture of composed scenes, each with a Gaussian texture around it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .chance import Array, Chance, stretch
from .easel import blurred
from .scene import Box, compose, insert
from .style import render, spectrum, style_of
from .words import understand

if TYPE_CHECKING:
    from . import Brief

MEMBERS = 3
SKETCH = 64  # short side of the sketches that stand for the members until one has won
SETTLED = 1.2  # below this noise the composition no longer changes
GRID = 16  # members are compared on a grid of this size


class Ensemble:
    def __init__(self, brief: Brief, chance: Chance, size: tuple[int, int], strength: float):
        self.size, self.chance, self.strength = size, chance, strength
        # at CFG 1 a WebUI does not evaluate the negative prompt
        self.asked = understand(brief.prompt, brief.negative_prompt if brief.cfg_scale > 1 else "")
        skipped = max(brief.clip_skip, 1) - 1
        style = style_of(brief.checkpoint)
        self.style = replace(style, saturation=style.saturation * 0.93**skipped, grain=style.grain * 1.15**skipped)
        self.power = spectrum(self.style, size)
        # the closed form is exact where a network errs on the vague side: its guidance is the square root
        self.guidance = math.sqrt(max(brief.cfg_scale, 0.0) / 7)
        self.init = brief.init_image.convert("RGB") if brief.init_image is not None else None
        self.box, self.weight = _box(brief.mask, size)
        # how much of the init picture gives way: to the things asked for, and to a new scene
        self.things_come = _ease((strength - 0.1) / 0.5)
        self.init_goes = _ease((strength - 0.55) / 0.45)
        shrink = min(1.0, SKETCH / min(size))
        self.sketch_size = max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))
        self.sketches = [self.member(k, self.sketch_size) for k in range(MEMBERS)]
        # what none of them is sure of yet is blurred
        self.vague = [_softened(sketch, min(self.sketch_size) / 40) for sketch in self.sketches]
        self.grids = [_grid(sketch) for sketch in self.sketches]
        self.settled: Array | None = None

    def start(self) -> Array | float:
        """What the noise is added to."""
        if self.init is None:
            return 0.0
        return _signed(self.init) * np.float32(1 - self.init_goes)

    def member(self, number: int, size: tuple[int, int]) -> Array:
        """One of the pictures that the prompt could mean, guided, -1 to 1."""
        chance = self.chance.child("member", number)
        scene = (
            self.guided(render(self.style, compose(self.asked, chance, size, self.box))) if self.init_goes > 0 else 0.0
        )
        if self.init is None or self.init_goes >= 1:
            return np.asarray(scene)
        init = self.init.resize(size, Image.Resampling.BOX) if self.init.size != size else self.init
        kept = _signed(init)
        staged = render(self.style, insert(self.asked, chance, init, self.box))
        kept = kept + np.float32(self.things_come) * (staged - kept)
        return kept + np.float32(self.init_goes) * (scene - kept)

    def guided(self, picture: Array) -> Array:
        """Away from what any prompt would give: a grey, vague version of the same."""
        vague = _softened(picture, min(picture.shape[:2]) / 12)
        vague = 0.5 * vague + 0.5 * vague.mean((0, 1)).mean()
        return np.clip(vague + np.float32(self.guidance) * (picture - vague), -1, 1)

    def denoise(self, x: Array, sigma: float) -> Array:
        """E[picture | x], x being the picture with noise of `sigma`."""
        mean = self.mean(x, sigma)
        # the texture is grey: it lives on the mean of the three channels, whose noise has a third of the power
        rest = np.fft.rfft2((x - mean).mean(-1))
        texture = np.fft.irfft2(rest * (self.power / (self.power + np.float32(sigma**2 / 3))), x.shape[:2])
        return mean + texture.astype(np.float32)[..., None]

    def mean(self, x: Array, sigma: float) -> Array:
        if self.settled is None:
            share = self.shares(x, sigma)
            if sigma > SETTLED and share.max() < 0.97:
                vague = np.tensordot(share.astype(np.float32), np.stack(self.vague), 1)
                return _enlarge(vague, self.size)
            best = int(share.argmax())
            drawn = self.size == self.sketch_size
            self.settled = self.sketches[best] if drawn else self.member(best, self.size)
        return self.settled

    def shares(self, x: Array, sigma: float) -> Array:
        """How likely each member is, given the noisy picture."""
        seen = _grid(x)
        off = np.array([(self.weight * (seen - grid) ** 2).mean() for grid in self.grids])
        cells = seen.size
        # tempered, so that the members stay superposed for some steps at any size
        temper = 2.0 * max(min(self.size) / GRID, 1.0)
        noise = sigma * GRID / max(min(self.size), GRID)
        odds = -cells * off / (2 * (noise**2 + 0.02) * temper)
        share = np.exp(odds - odds.max())
        return share / share.sum()


def _ease(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)


def _softened(picture: Array, radius: float) -> Array:
    return _signed(blurred(Image.fromarray(((picture + 1) * 127.5).astype(np.uint8)), radius))


def _signed(image: Image.Image) -> Array:
    return np.asarray(image, np.float32) / np.float32(127.5) - 1


def _channels(picture: Array, size: tuple[int, int], how: Image.Resampling) -> Array:
    return np.stack([stretch(np.ascontiguousarray(picture[..., c]), size, how) for c in range(3)], -1)


def _enlarge(picture: Array, size: tuple[int, int]) -> Array:
    return picture if picture.shape[1::-1] == size else _channels(picture, size, Image.Resampling.BILINEAR)


def _grid(picture: Array) -> Array:
    return _channels(picture, (GRID, GRID), Image.Resampling.BOX)


def _box(mask: Image.Image | None, size: tuple[int, int]) -> tuple[Box | None, Array]:
    """The masked box in 0..1, and how much each cell of the grid counts."""
    bounds = mask.convert("L").point(lambda level: 255 * (level > 127)).getbbox() if mask is not None else None
    if mask is None or bounds is None:
        return None, np.ones((GRID, GRID, 1), np.float32)
    left, top, right, bottom = bounds
    cells = np.asarray(mask.convert("L").resize((GRID, GRID), Image.Resampling.BOX), np.float32)[..., None] / 255
    return (left / size[0], top / size[1], right / size[0], bottom / size[1]), cells
