"""Composes one picture from what was asked for: light, place, things, in the order a painter would."""

import math

import numpy as np
from PIL import Image

from .chance import Array, Chance
from .pen import WHITE, Colour, Pen, Tone, mix
from .things import GROWTH, HORIZON, KINDS, Kind
from .words import PLACES, TIMES, Asked

Box = tuple[float, float, float, float]  # left, top, right, bottom in 0..1


# sky from the top to the horizon, the light on things, the sun's colour and radius (a large one stands low)
_SKIES: dict[str, tuple[list[Colour], tuple[float, float, float], Colour, float]] = {
    "day": ([(44, 104, 190), (110, 168, 226), (206, 226, 236)], (1, 1, 1), (255, 250, 226), 0.045),
    "dawn": ([(112, 130, 190), (236, 176, 178), (255, 224, 176)], (0.98, 0.88, 0.84), (255, 240, 206), 0.075),
    "dusk": ([(44, 38, 98), (206, 82, 108), (255, 172, 84)], (0.8, 0.58, 0.56), (255, 226, 140), 0.075),
    "night": ([(5, 9, 28), (12, 22, 54), (34, 50, 92)], (0.22, 0.27, 0.44), (236, 238, 226), 0.045),
    "grey": ([(88, 98, 112), (134, 142, 150), (186, 190, 192)], (0.68, 0.71, 0.75), (222, 224, 224), 0.01),
}
# the ground far away and close by, and how much it rolls
_GROUNDS: dict[str, tuple[Colour, Colour, float]] = {
    "city": ((70, 72, 80), (44, 46, 54), 0),
    "forest": ((74, 88, 54), (44, 54, 34), 0.02),
    "desert": ((226, 178, 116), (196, 128, 70), 0.05),
}
_GRASS = (138, 168, 84), (62, 112, 46), 0.02


def compose(asked: Asked, chance: Chance, size: tuple[int, int], box: Box | None, init: Image.Image | None) -> Array:
    """The picture, (height, width, 3), 0 to 255: the things in `box`, if any, and in front of `init`, if any."""
    scene = _Scene(asked, chance, size)
    if init is None:
        scene.landscape()
    else:
        scene.paint = np.array(init, np.float32)
        scene.light = (min(1.0, float(scene.paint.mean()) / 75),) * 3
    for name, kind in KINDS.items():
        if name in asked.colours:
            scene.crowd(name, kind, box)
    return scene.paint


class _Scene:
    def __init__(self, asked: Asked, chance: Chance, size: tuple[int, int]):
        self.asked, self.chance, self.size = asked, chance, size
        self.paint: Array = np.zeros((*size[::-1], 3), np.float32)
        self.time = asked.pick(TIMES, ("day", "dawn", "dusk"), chance("time"))
        self.place = asked.pick(PLACES, PLACES[2:], chance("place"))
        self.stops, self.light, self.sun, self.disc = _SKIES[self.time]
        self.haze, self.horizon = self.stops[2], chance("horizon", 0.5, 0.64)
        self.x, self.y = np.ogrid[0.5 : size[0], 0.5 : size[1]][0].T / size[0], np.arange(size[1])[:, None] / size[1]
        # how near each row of the ground is: 0 at the horizon, 1 at the lower edge
        self.near = np.clip((self.y - self.horizon) / (1 - self.horizon), 0, 1)
        self.sun_x, self.sun_y = chance("sun x", 0.15, 0.85), chance("sun y", 0.1, 0.26)
        self.sun_y += (self.horizon - 0.28) * (self.disc > 0.05)

    def lay(self, tone: Tone | Array, share: Array) -> None:
        self.paint += ((tone - self.paint) * share[..., None]).astype(np.float32)

    def landscape(self) -> None:
        self.sky()
        if self.place == "mountain" or "mountain" in self.asked.colours:
            self.ridge(0.24, (112, 122, 142), 0.5)
            self.ridge(0.17, (104, 98, 96), 0.2)
        elif "mountain" not in self.asked.banned:
            self.ridge(0.05, (92, 116, 124), 0.5)
        for name, kind in HORIZON.items():
            if name in self.asked.colours:
                self.crowd(name, kind)
        if self.place == "sea":
            self.water()
        else:
            self.ground()
        for name, kind in GROWTH.get(self.place, {}).items():
            if name not in self.asked.banned:
                self.crowd(name, kind)

    def sky(self) -> None:
        down, night = np.minimum(self.y / self.horizon, 1), self.time == "night"
        self.paint += np.stack([np.interp(down, (0, 0.55, 1), stop) for stop in zip(*self.stops, strict=True)], -1)
        if night:
            self.lay(WHITE, ramp(self.chance.clouds("stars", self.size, 110, 1), 3.2, 4.2))
        far = np.hypot((self.x - self.sun_x) * self.size[0], (self.y - self.sun_y) * self.size[1]) / min(self.size)
        self.lay(self.sun, 0.6 * np.exp(-far * 0.35 / self.disc))
        self.lay(mix(self.sun, WHITE, 0.5), ramp(-far / self.disc, -1.1, -0.9))
        cover = self.chance("cover", 0.35, 0.9) - 0.9 * (self.time == "grey")
        field = self.chance.clouds("clouds", self.size, 2, 6, 3.0)
        shine = np.clip((field - np.roll(field, -max(1, min(self.size) // 40), 0)) * 0.5 + 0.5, 0, 1)[..., None]
        top = mix(self.stops[1], mix(WHITE, self.haze, 0.4), 0.25 if night else 0.9)
        low = mix(self.stops[1], self.stops[0], 0.05 if self.time == "day" else 0.35)
        share = 0.85 * ramp(field, cover, cover + 1.3) * ramp(self.horizon - self.y, 0.0, 0.16)
        self.lay(np.multiply(top, shine) + np.multiply(low, 1 - shine), share)

    def ridge(self, high: float, colour: Colour, hazy: float) -> None:
        """A line of hills, or of mountains with snow, in front of the sky."""
        width, height = self.size
        top = self.horizon - high * np.maximum(1.2 - 0.5 * np.abs(self.chance.clouds(high, (width, 1), 4, 6)[0]), 0.1)
        deep, rock, step = self.y - top, self.chance.clouds(("rock", high), self.size, 6, 5), max(1, width // 100)
        slope = rock - np.roll(rock, step, 1) + 20 * (np.roll(top, step) - top)
        shine = np.clip(0.5 + (slope if self.sun_x < 0.5 else -slope) * 0.55, 0, 1)[..., None]
        snow = ramp(self.horizon - self.y + 0.02 * rock, 0.12, 0.16)[..., None]
        tone = (colour + ((216, 224, 238) - np.array(colour)) * snow) * (0.58 + 0.6 * shine) * self.light
        sink = np.minimum(hazy + 0.45 * ramp(deep, 0, high), 0.92)[..., None]
        self.lay(tone + (self.haze - tone) * sink, np.clip(deep * height + 0.5, 0, 1))

    def flat(self, name: str, cells: int, tall: float) -> Array:
        """A texture that lies on the ground: its rows crowd together towards the horizon."""
        texture = self.chance.clouds(name, self.size, cells, 5, tall)
        rows = (1 - 1 / (1 + 5 * self.near[:, 0])) * 1.19 * len(texture)
        return texture[rows.astype(int).clip(0, len(texture) - 1)]

    def water(self) -> None:
        width, height = self.size
        edge, ripple = np.clip((self.y - self.horizon) * height + 0.5, 0, 1), self.flat("ripple", 3, 12.0)
        shift = (ripple * (0.004 + 0.03 * self.near) * min(self.size)).astype(int)
        rows = np.clip(2 * round(self.horizon * height) - np.arange(height)[:, None] - 1 + shift // 2, 0, height - 1)
        self.lay(self.paint[rows, (np.arange(width) + shift) % width], edge)
        deep = np.multiply(self.asked.colours.get("sea") or (26, 78, 112), self.light)
        deep = deep * (1 - 0.35 * self.near[..., None])
        self.lay(deep, np.clip(0.22 + 0.33 * self.near + 0.05 * ripple, 0, 1) * edge)
        path = np.exp(-np.abs(self.x - self.sun_x) * width / min(self.size) / (0.04 + 0.16 * self.near))
        self.lay(self.sun, 0.75 * ramp(ripple, 0.3, 1.3) * path * edge)  # the sun's
        self.lay(self.haze, 0.3 * ramp(ripple, 1.1, 2.2) * edge)

    def ground(self) -> None:
        far, close, roll = _GROUNDS.get(self.place, _GRASS)
        texture = self.flat("ground", 9, 2.0)
        for i in range(3):
            line = self.chance.clouds(("swell", i), (self.size[0], 1), 3, 2)[0]
            deep = self.y - self.horizon - 0.11 * i - roll * (i + 0.5) * line
            tone = mix(np.multiply(mix(far, close, 0.1 + 0.36 * i), self.light).tolist(), self.haze, 0.3 - 0.13 * i)
            shade = 0.9 + 0.1 * texture + 0.22 * ramp(-deep, -0.12, 0)
            self.lay(tone * shade[..., None], np.clip(deep * self.size[1] + 0.5, 0, 1))

    def crowd(self, name: str, kind: Kind, box: Box | None = None) -> None:
        """One or many of a kind, from far to near."""
        chance, (wide, tall) = self.chance.child(name), self.size
        count = 1 if box or (kind.spread < 1 and name not in self.asked.many) else kind.several
        sheet = Image.fromarray(np.clip(self.paint, 0, 255).astype(np.uint8))
        # drawn at twice the size; nearest, so that what stays uncovered comes back unchanged
        sheet = sheet.resize((wide * 2, tall * 2), Image.Resampling.NEAREST)
        pen = Pen(sheet, [math.sqrt(k) for k in self.light] if kind.spread < 1 else self.light)
        for i, near in enumerate(sorted(chance(("near", i)) ** 1.5 for i in range(count))):
            size, foot = (far + (close - far) * near for far, close in (kind.size, kind.foot))
            x = (chance("along") + i * 0.618) % 1 - 0.5  # steps of the golden ratio fill a row evenly
            if kind.spread > 1:  # leave a clearing in the middle
                x = math.copysign(0.5 - (0.5 - abs(x)) * (1 - size), x)
            x, y = 0.5 + x * kind.spread, min(self.horizon + foot, 0.97)
            if box is not None:
                left, top, right, bottom = box
                size = 0.9 * min((bottom - top) * tall, (right - left) * wide) / min(self.size)
                x, y = (left + right) / 2, bottom - (bottom - top) * 0.08
            kind.draw(pen.at(x, y, size, self.haze, 0.5 * (1 - near) ** 2 * (count > 1)), chance.child(i), self.asked)
        self.paint = np.array(sheet.reduce(2), np.float32)


def ramp(value: Array | float, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((np.asarray(value, np.float32) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
