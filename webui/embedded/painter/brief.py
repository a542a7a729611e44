"""What is to be painted."""

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Brief:
    """One picture, in a WebUI's terms. Equal briefs give equal bytes."""

    prompt: str
    negative_prompt: str = ""
    seed: int = 0
    subseed: int = 0
    subseed_strength: float = 0.0  # 0 the seed's picture, 1 the subseed's
    steps: int = 20
    sampler_name: str = "Euler"
    scheduler: str = "automatic"
    cfg_scale: float = 7.0
    width: int = 512  # pixels, 8 or more
    height: int = 512
    checkpoint: str = ""
    clip_skip: int = 1
    vae: str = ""
    init_image: Image.Image | None = None  # RGB, width x height
    denoising_strength: float = 1.0  # with an init image: 0 keeps it, 1 ignores it
    mask: Image.Image | None = None  # L, white is repainted
