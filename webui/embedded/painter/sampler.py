"""Diffusion sampling in the form of k-diffusion (Karras et al. 2022, arXiv 2206.00364): noise levels, steps."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from .chance import Array

Denoiser = Callable[[Array, float], Array]
SIGMA_MIN, SIGMA_MAX = 0.0292, 14.6146  # Stable Diffusion 1's: its betas' first and last cumulative noise


def family(sampler_name: str) -> str:
    """The nearest of the samplers that exist here."""
    name = sampler_name.lower()
    if "sde" in name or name.endswith(" a") or "ancestral" in name or "lcm" in name:
        return "Euler a"
    return "DPM++ 2M" if any(kin in name for kin in ("dpm", "unipc", "deis", "res_")) else "Euler"


def noise_levels(steps: int, sampler_name: str, scheduler: str) -> list[float]:
    """`steps` noise levels from the highest down, then 0."""
    asked = f"{scheduler} {sampler_name}".lower()
    automatic = scheduler.lower() in ("", "automatic")
    if any(kin in asked for kin in ("karras", "exponential")) or (automatic and family(sampler_name) == "DPM++ 2M"):
        low, high = SIGMA_MIN ** (1 / 7), SIGMA_MAX ** (1 / 7)
        return [(high + (low - high) * i / max(steps - 1, 1)) ** 7 for i in range(steps)] + [0.0]
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = np.cumprod(1 - betas)
    times = np.linspace(999, 0, steps) if steps > 1 else np.array([999.0])
    levels = np.exp(np.interp(times, np.arange(1000), np.log(((1 - kept) / kept) ** 0.5)))
    return [*map(float, levels), 0.0]


def sample(
    x: Array, levels: list[float], denoise: Denoiser, sampler_name: str, noise: Callable[[int], Array]
) -> Iterator[tuple[Array, Array, float]]:
    """After each step: the noisy picture, the estimate of the clean one, and the noise that is left."""
    kind = family(sampler_name)
    before: tuple[Array, float] | None = None  # DPM++ 2M's last estimate and its step in log noise
    for number, (high, low) in enumerate(pairwise(levels)):
        clean = denoise(x, high)
        if low == 0:
            x = clean
        elif kind == "DPM++ 2M":
            stride = math.log(high / low)
            aim = clean
            if before is not None:
                ratio = stride / before[1] / 2
                aim = clean + np.float32(ratio) * (clean - before[0])
            x = aim + np.float32(low / high) * (x - aim)
            before = clean, stride
        else:
            up = low * math.sqrt(1 - (low / high) ** 2) if kind == "Euler a" else 0.0
            down = math.sqrt(low**2 - up**2)
            x = clean + np.float32(down / high) * (x - clean)
            if up:
                x = x + np.float32(up) * noise(number)
        yield x, clean, low
