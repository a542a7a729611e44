"""The closed-form model of a picture: a mixture of composed scenes, each with a Gaussian texture around it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .canvas import ramp, stretch
from .chance import Array, Chance
from .scene import Box, compose
from .style import render, signed, style_of, texture
from .words import understand

if TYPE_CHECKING:
    from . import Brief

MEMBERS = 3
SKETCH = 32  # short side of the sketches that stand for the members until one has won
SETTLED = 1.2  # below this noise the composition no longer changes
_TEMPER = 8.0  # flattens the likelihood, so that the members stay superposed for some steps


class Ensemble:
    def __init__(self, brief: Brief, chance: Chance):
        self.chance, self.size = chance, (brief.width, brief.height)
        # at CFG 1 a WebUI does not evaluate the negative prompt
        self.asked = understand(brief.prompt, brief.negative_prompt if brief.cfg_scale > 1 else "")
        self.style = style_of(brief.checkpoint, brief.vae, brief.clip_skip)
        self.power = texture(self.style, self.size)
        # the closed form is exact where a network errs on the vague side: its guidance is the square root
        self.guidance = np.float32(math.sqrt(max(brief.cfg_scale, 0.0) / 7))
        self.init = brief.init_image.convert("RGB") if brief.init_image is not None else None
        # how much of the init picture gives way: to the things asked for, and to a new scene
        self.things_come = np.float32(ramp(brief.denoising_strength, 0.1, 0.6))
        self.init_goes = np.float32(ramp(brief.denoising_strength, 0.55, 1.0))
        shrink = min(1.0, SKETCH / min(self.size))
        small = max(1, round(brief.width * shrink)), max(1, round(brief.height * shrink))
        self.box, self.weight = _masked(brief.mask, self.size, small)
        self.sketches = np.stack([self.member(number, small) for number in range(MEMBERS)])
        self.settled: Array | None = None

    def start(self) -> Array | float:
        """What the noise is added to."""
        return signed(self.init) * (1 - self.init_goes) if self.init is not None else 0.0

    def member(self, number: int, size: tuple[int, int]) -> Array:
        """One of the pictures that the prompt could mean, -1 to 1."""
        chance = self.chance.child(number, *self.asked.mood)
        scene = render(self.style, compose(self.asked, chance, size, self.box))
        # guided away from what any prompt would give: grey
        scene = np.clip(scene.mean() + self.guidance * (scene - scene.mean()), -1, 1)
        if self.init is None:
            return scene
        init = self.init.resize(size, Image.Resampling.BOX)
        staged = render(self.style, compose(self.asked, chance, size, self.box, backdrop=init))
        kept = signed(init) * (1 - self.things_come) + staged * self.things_come
        return kept * (1 - self.init_goes) + scene * self.init_goes

    def denoise(self, x: Array, sigma: float) -> Array:
        """E[picture | x], x being the picture with noise of `sigma`."""
        mean = self.mean(x, sigma)
        # the texture is grey: it lives on the mean of the three channels, whose noise has a third of the power
        rest = np.fft.rfft2((x - mean).mean(-1))
        grain = np.fft.irfft2(rest * (self.power / (self.power + np.float32(sigma**2 / 3))), x.shape[:2])
        return mean + grain.astype(np.float32)[..., None]

    def mean(self, x: Array, sigma: float) -> Array:
        """The sketches superposed by how likely each is; once one has won, its full picture."""
        if self.settled is None:
            share = self.shares(x, sigma)
            if sigma > SETTLED and share.max() < 0.97:
                return _resized(np.tensordot(share, self.sketches, 1), self.size, Image.Resampling.BILINEAR)
            self.settled = self.member(int(share.argmax()), self.size)
        return self.settled

    def shares(self, x: Array, sigma: float) -> Array:
        height, width = self.sketches.shape[1:3]
        seen = _resized(x, (width, height), Image.Resampling.BOX)
        off = (self.weight * (self.sketches - seen) ** 2).sum((1, 2, 3))
        noise = sigma**2 * width * height / (self.size[0] * self.size[1])  # shrinking averaged it
        odds = -off / (2 * _TEMPER * (noise + 0.02))
        share = np.exp(odds - odds.max())
        return (share / share.sum()).astype(np.float32)


def _resized(picture: Array, size: tuple[int, int], how: Image.Resampling) -> Array:
    if picture.shape[1::-1] == size:
        return picture
    return np.stack([stretch(np.ascontiguousarray(picture[..., c]), size, how) for c in range(3)], -1)


def _masked(mask: Image.Image | None, size: tuple[int, int], small: tuple[int, int]) -> tuple[Box | None, Array]:
    """The masked box in 0..1, and how much each pixel of a sketch counts."""
    bounds = mask.convert("L").point(lambda level: 255 * (level > 127)).getbbox() if mask is not None else None
    if mask is None or bounds is None:
        return None, np.ones((1, 1, 1), np.float32)
    left, top, right, bottom = bounds
    weight = np.asarray(mask.convert("L").resize(small, Image.Resampling.BOX), np.float32)[..., None] / 255
    return (left / size[0], top / size[1], right / size[0], bottom / size[1]), weight
