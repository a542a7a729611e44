"""What the bench paints: one picture, its time set by its steps.

Small by default: 64 × 64 pixels cost the embedded WebUI next to nothing besides its steps, and leave the cores to what
is measured. At 512 × 512 it encodes the PNG for 40 ms after the GPU is free, the same for everybody, and paints on the
cores that the clients need.
"""

from __future__ import annotations

from typing import Any

from bench.peers import picture
from bench.rig import STEP

SMALL, LARGE = 64, 256  # pixels a side; large where pictures are saved as well


def payload(seconds: float, *, seed: int = 1, side: int = SMALL) -> dict[str, Any]:
    """The peers' request for a picture that takes so many seconds."""
    return picture(max(1, round(seconds / STEP)), seed=seed, side=side)


def job(seconds: float, *, images: int = 1, seed: int = 1, side: int = SMALL, name: str = "bench") -> dict[str, Any]:
    """The same picture as a job of ours."""
    same = payload(seconds, seed=seed, side=side)
    txt2img = {key: same[key] for key in ("prompt", "sampler_name", "steps", "width", "height", "seed")}
    return {"name": name, "checkpoint": "photo.safetensors", "images": images, "txt2img": txt2img}


def tiny_job(checkpoint: str, *, seed: int = 1, name: str = "tiny") -> dict[str, Any]:
    """One step with a given checkpoint."""
    txt2img = {"prompt": "a lighthouse", "steps": 1, "width": SMALL, "height": SMALL, "seed": seed}
    return {"name": name, "checkpoint": f"{checkpoint}.safetensors", "txt2img": txt2img}
