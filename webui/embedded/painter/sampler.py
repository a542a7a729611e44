"""Diffusion sampling in the form of k-diffusion (Karras et al. 2022, arXiv 2206.00364): noise levels, steps."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from .chance import Array

SIGMA_MIN, SIGMA_MAX = 0.0292, 14.6146  # Stable Diffusion 1's: its betas' first and last cumulative noise


def family(sampler_name: str) -> str:
    """The nearest of the samplers that exist here."""
    name = sampler_name.lower()
    if name.endswith(" a") or any(kin in name for kin in ("sde", "ancestral", "lcm")):
        return "Euler a"
    return "DPM++ 2M" if any(kin in name for kin in ("dpm", "unipc", "deis", "res_")) else "Euler"


def noise_levels(steps: int, sampler_name: str, scheduler: str) -> list[float]:
    """`steps` noise levels from the highest down, then 0."""
    asked = f"{scheduler} {sampler_name}".lower()
    automatic = scheduler.lower() in ("", "automatic")
    if "karras" in asked or "exponential" in asked or (automatic and family(sampler_name) == "DPM++ 2M"):
        levels = np.linspace(SIGMA_MAX ** (1 / 7), SIGMA_MIN ** (1 / 7), steps) ** 7
    else:
        kept = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)  # its training's schedule
        levels = np.exp(np.interp(np.linspace(999, 0, steps), np.arange(1000), np.log(1 / kept - 1) / 2))
    return [*map(float, levels), 0.0]


Denoiser = Callable[[Array, float], Array]


def sample(
    x: Array, levels: list[float], denoise: Denoiser, sampler_name: str, fresh_noise: Callable[[int], Array]
) -> Iterator[tuple[Array, Array, float]]:
    """After each step: the noisy picture, the estimate of the clean one, and the noise that is left."""
    kind = family(sampler_name)
    before: tuple[Array, float] | None = None  # DPM++ 2M's last estimate and its step in log noise
    for number, (high, low) in enumerate(pairwise(levels)):
        aim = clean = denoise(x, high)
        added = 0.0
        if low and kind == "DPM++ 2M":
            stride = math.log(high / low)
            if before is not None:
                aim = clean + np.float32(stride / before[1] / 2) * (clean - before[0])
            before = clean, stride
        elif kind == "Euler a":
            added = low * math.sqrt(1 - (low / high) ** 2)
        x = aim + np.float32(math.sqrt(low**2 - added**2) / high) * (x - aim)
        if added:
            x = x + np.float32(added) * fresh_noise(number)
        yield x, clean, low
