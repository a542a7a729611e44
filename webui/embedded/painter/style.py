"""A checkpoint is a style: how colour, edges and paper are treated, and the texture that the noise becomes."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from .chance import Array, Chance


class Style(NamedTuple):
    saturation: float = 1.0
    contrast: float = 1.0
    warmth: float = 0.0  # more red and less blue, as a share
    paper: float = 0.0  # how far the white of the paper shows through, 0..1
    lines: float = 0.0  # dark outlines, 0..1
    brush: float = 0.0  # width of a dab, in hundredths of the short side
    grain: float = 0.03  # amplitude of the texture, of a range of 2
    slope: float = 1.0  # of the texture's spectrum: 0 is sand, 2 is cloud


_KNOWN = {
    "photo": Style(0.95, 1.1, grain=0.018, slope=0.4),
    "oil": Style(1.2, 1.15, 0.06, brush=1.3, grain=0.05, slope=0.8),
    "watercolo": Style(0.95, 0.85, paper=0.3, lines=0.22, brush=0.9, grain=0.05, slope=1.3),
    "ink": Style(0.05, 1.35, 0.04, paper=0.26, lines=1.0, slope=0.6),
}


def style_of(checkpoint: str, vae: str, clip_skip: int) -> Style:
    """A checkpoint's style: known by a word in its name, else derived from the name."""
    style = next((style for word, style in _KNOWN.items() if word in checkpoint.lower()), None)
    if style is None:
        chance = Chance(0).child("checkpoint", checkpoint)
        ranges = ((0.55, 1.5), (0.85, 1.3), (-0.15, 0.15), (0, 0.1), (-0.6, 0.7), (-0.8, 1.2))
        style = Style(*(chance(i, *ends) for i, ends in enumerate(ranges))) if checkpoint else Style()
    # a decoder shows as a little more contrast, a skipped layer as paler colour
    saturation, contrast = style.saturation * 0.93 ** max(clip_skip - 1, 0), style.contrast * (1.1 if vae else 1)
    return style._replace(saturation=saturation, contrast=contrast)


def render(style: Style, paint: Array) -> Array:
    """A painting (0 to 255) in the style, -1 to 1."""
    image = Image.fromarray(np.clip(paint, 0, 255).astype(np.uint8))
    short = min(image.size)
    if style.brush > 0 and short >= 48:
        # a median keeps edges and flattens what lies between: dabs; at a part of the size it is cheap
        small = image.reduce(max(1, round(short * style.brush / 250)))
        image = Image.blend(image, small.filter(ImageFilter.MedianFilter(5)).resize(image.size), 0.75)
    colour, grey = signed(image), signed(image.convert("L"))[..., None]
    colour = np.tanh((grey + (colour - grey) * style.saturation) * 1.25 * style.contrast) / np.tanh(1.25)
    colour += (1 - colour) * style.paper * (0.6 + 0.4 * grey)
    if style.lines > 0:
        edge = image.convert("L").filter(ImageFilter.GaussianBlur(max(0.6, short / 420)))
        around = edge.filter(ImageFilter.GaussianBlur(max(1.2, short / 210)))
        colour -= 2 * style.lines * np.clip((signed(around) - signed(edge)) * 9 - 0.12, 0, 1)[..., None]
    warm = colour + (colour + 1) * np.multiply((1, 0, -1), style.warmth)
    return np.clip(warm, -1, 1).astype(np.float32)


def texture(style: Style, size: tuple[int, int]) -> Array:
    """The texture's power at each frequency of `rfft2`, for one sample of unit noise power."""
    high, wide = np.fft.fftfreq(size[1], 1 / size[1]), np.fft.rfftfreq(size[0], 1 / size[0])
    shape = (8 + np.hypot(high[:, None], wide) * 512 / min(size)) ** (-2 * style.slope)
    return (style.grain**2 * shape / shape.mean()).astype(np.float32)


def signed(image: Image.Image) -> Array:
    return np.asarray(image, np.float32) / np.float32(127.5) - 1
