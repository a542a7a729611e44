"""A checkpoint is a style: how colour, edges and paper are treated, and the texture that the noise becomes."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from .chance import Array, Chance
from .easel import blurred


@dataclass(frozen=True)
class Style:
    saturation: float = 1.0
    contrast: float = 1.0
    lift: float = 0.0  # how far paper white shows through, 0..1
    lines: float = 0.0  # dark outlines, 0..1
    brush: float = 0.0  # width of a dab, in hundredths of the short side
    grain: float = 0.03  # amplitude of the texture, of a range of 2
    slope: float = 1.0  # of the texture's spectrum: 0 is sand, 2 is cloud
    warmth: tuple[float, float, float] = (1, 1, 1)


_KNOWN = {
    "photo": Style(saturation=0.95, contrast=1.1, grain=0.018, slope=0.4),
    "oil": Style(saturation=1.25, contrast=1.15, brush=1.3, grain=0.075, slope=0.9, warmth=(1.05, 1.0, 0.92)),
    "watercolour": Style(saturation=0.95, contrast=0.85, lift=0.3, brush=0.9, lines=0.22, grain=0.06, slope=1.3),
    "ink": Style(saturation=0.07, contrast=1.35, lift=0.26, lines=1.0, grain=0.045, slope=0.6, warmth=(1.02, 1, 0.94)),
}
_KNOWN["watercolor"] = _KNOWN["watercolour"]


def style_of(checkpoint: str) -> Style:
    """The style of a checkpoint: known by a word in its name, else derived from the name."""
    if not checkpoint:
        return Style()
    for word, style in _KNOWN.items():
        if word in checkpoint.lower():
            return style
    chance = Chance(0).child("checkpoint", checkpoint)
    return Style(
        saturation=chance("saturation", 0.55, 1.5),
        contrast=chance("contrast", 0.85, 1.3),
        lift=max(0.0, chance("lift", -0.2, 0.25)),
        lines=max(0.0, chance("lines", -0.6, 0.7)),
        brush=max(0.0, chance("brush", -0.8, 1.2)),
        grain=chance("grain", 0.02, 0.07),
        slope=chance("slope", 0.3, 1.5),
        warmth=(chance("red", 0.86, 1.12), 1.0, chance("blue", 0.82, 1.14)),
    )


def render(style: Style, paint: Array) -> Array:
    """A painting (0 to 255) in the style, -1 to 1."""
    small = min(paint.shape[:2])
    image = Image.fromarray(np.clip(paint, 0, 255).astype(np.uint8))
    if style.brush and small >= 48:
        # a median keeps edges and flattens what lies between: dabs; at a quarter of the size it is cheap
        shrink = max(1, round(small * style.brush / 250))
        dabs = image.reduce(shrink).filter(ImageFilter.MedianFilter(5)).resize(image.size, Image.Resampling.BICUBIC)
        image = Image.blend(image, dabs, 0.75)
    colour = np.asarray(image, np.float32) / 127.5 - 1
    grey = colour @ np.array((0.299, 0.587, 0.114), np.float32)
    colour = grey[..., None] + (colour - grey[..., None]) * np.float32(style.saturation)
    colour = np.tanh(colour * np.float32(1.25 * style.contrast)) / np.float32(np.tanh(1.25))
    if style.lift:
        colour = colour + (1 - colour) * np.float32(style.lift) * (0.6 + 0.4 * grey[..., None])
    if style.lines:
        luminance = image.convert("L")
        radius = max(0.6, small / 420)
        fine = np.asarray(blurred(luminance, radius), np.float32) - np.asarray(
            blurred(luminance, radius * 2.2), np.float32
        )
        colour = colour - np.float32(2.0 * style.lines) * np.clip(-fine / 14 - 0.12, 0, 1)[..., None]
    warm = np.asarray(style.warmth, np.float32)
    return np.clip((colour + 1) * warm - 1, -1, 1)


def spectrum(style: Style, size: tuple[int, int]) -> Array:
    """The texture's power at each frequency of `rfft2`, for one sample of unit noise power."""
    width, height = size
    high = np.fft.fftfreq(height).astype(np.float32)[:, None] * height
    wide = np.fft.rfftfreq(width).astype(np.float32)[None, :] * width
    shape = 1 / (8 + np.hypot(high, wide) * 512 / min(size)) ** (2 * style.slope)
    return (style.grain**2 * shape / shape.mean()).astype(np.float32)
