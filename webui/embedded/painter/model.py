"""The closed-form model of a picture: one composed scene, with a Gaussian texture around it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from .brief import Brief
from .chance import Array, Chance
from .scene import compose, ramp
from .style import render, signed, style_of, texture
from .words import understand


class Model:
    def __init__(self, brief: Brief, chance: Chance):
        # at CFG 1 a WebUI does not evaluate the negative prompt
        asked = understand(brief.prompt, brief.negative_prompt if brief.cfg_scale > 1 else "")
        style, size, box = style_of(brief.checkpoint, brief.vae, brief.clip_skip), (brief.width, brief.height), None
        self.power = texture(style, size)
        if brief.mask is not None and (bounds := brief.mask.convert("L").point(lambda v: 255 * (v > 127)).getbbox()):
            box = bounds[0] / size[0], bounds[1] / size[1], bounds[2] / size[0], bounds[3] / size[1]
        chance = chance.child(*asked.mood)
        scene = render(style, compose(asked, chance, size, box, None))
        # Guided away from what any prompt would give: grey. The closed form is exact where a network errs on the
        # vague side, so its guidance is the square root.
        guidance = np.float32(math.sqrt(max(brief.cfg_scale, 0.0) / 7))
        self.picture = np.clip(scene.mean() + guidance * (scene - scene.mean()), -1, 1)
        self.start: Array | float = 0.0  # what the noise is added to
        if brief.init_image is not None:
            # how much of the init picture gives way: to the things asked for, and to a new scene
            things_come, init_goes = (np.float32(ramp(brief.denoising_strength, *at)) for at in ((0.1, 0.6), (0.55, 1)))
            init = signed(brief.init_image.convert("RGB"))
            staged = render(style, compose(asked, chance, size, box, brief.init_image.convert("RGB")))
            self.start = init * (1 - init_goes)
            self.picture = self.picture * init_goes + (init + things_come * (staged - init)) * (1 - init_goes)

    def denoise(self, x: Array, sigma: float) -> Array:
        """E[picture | x], x being the picture with noise of `sigma`."""
        mean = self.picture
        hidden = int(min(x.shape[:2]) * sigma / 250)  # pixels: details that drown in the noise
        if hidden > 1:
            vague = Image.fromarray((mean * 127 + 128).astype(np.uint8)).reduce(hidden)
            mean = signed(vague.resize(x.shape[1::-1], Image.Resampling.BICUBIC))
        # the texture is grey: it lives on the mean of the three channels, whose noise has a third of the power
        rest = np.fft.rfft2((x - mean).mean(-1))
        grain = np.fft.irfft2(rest * (self.power / (self.power + np.float32(sigma**2 / 3))), x.shape[:2])
        return mean + grain.astype(np.float32)[..., None]
