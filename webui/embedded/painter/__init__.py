"""A stand-in painter: no learned weights, but parameters that mean what they mean in Stable Diffusion.

The sampler is the real thing; its denoiser is closed form (`Model`): a picture composed from the prompt, with the
texture of the checkpoint's style around it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from .brief import Brief
from .chance import Array, Chance
from .model import Model
from .sampler import noise_levels, sample

__all__ = ["Brief", "Step", "paint", "sampling_steps"]


@dataclass(frozen=True)
class Step:
    """The state after one sampler step."""

    number: int
    total: int
    preview: Callable[[], Image.Image]  # the picture as estimated now
    image: Callable[[], Image.Image]  # with the noise that is left: what an interrupted run returns


def sampling_steps(brief: Brief) -> int:
    """How many steps `paint` takes. With an init image the WebUI counts int(strength x steps) + 1."""
    if brief.init_image is None:
        return max(brief.steps, 1)
    if brief.denoising_strength <= 0:
        return 1
    return int(min(brief.denoising_strength, 0.999) * max(brief.steps, 1)) + 1


def paint(brief: Brief) -> Iterator[Step]:
    """The picture, one sampler step at a time; stop iterating to interrupt."""
    total = sampling_steps(brief)
    if brief.init_image is not None and brief.denoising_strength <= 0:
        keep = brief.init_image.convert("RGB").copy
        yield Step(1, 1, keep, keep)
        return
    chance = Chance(brief.seed, brief.subseed, brief.subseed_strength)
    shape = brief.height, brief.width, 3
    model = Model(brief, chance)
    levels = noise_levels(max(brief.steps, 1), brief.sampler_name, brief.scheduler)[-total - 1 :]
    x = model.start + np.float32(levels[0]) * chance.normal("noise", *shape)
    run = sample(x, levels, model.denoise, brief.sampler_name, lambda step: chance.normal(("more", step), *shape))
    for number, (noisy, clean, noise) in enumerate(run, 1):
        # a picture's spread is about 0.5 of the range -1..1: keep the total at that
        scale = 0.5 / (0.25 + noise**2) ** 0.5
        yield Step(number, total, partial(_decode, brief, clean), partial(_decode, brief, noisy, scale))


def _decode(brief: Brief, picture: Array, scale: float = 1.0) -> Image.Image:
    painted = Image.fromarray((picture * np.float32(127.5 * scale) + 128).clip(0, 255).astype(np.uint8))
    if brief.mask is None or brief.init_image is None:
        return painted
    return Image.composite(painted, brief.init_image.convert("RGB"), brief.mask.convert("L"))
