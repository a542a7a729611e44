"""Composes one picture from what was asked for: light, place, things, in the order a painter would."""

import numpy as np
from PIL import Image

from .canvas import BLACK, WHITE, Canvas, Pen, clouds, mix, ramp
from .chance import Array, Chance
from .face import BOX_MIDDLE, BOX_SIDE, face
from .things import KINDS, LAMP, box, tree
from .words import PLACES, TIMES, Asked, Colour

Box = tuple[float, float, float, float]  # left, top, right, bottom in 0..1

# sky from the top to the horizon, the light on things, the sun's colour
_SKIES: dict[str, tuple[list[Colour], tuple[float, float, float], Colour]] = {
    "day": ([(44, 104, 190), (110, 168, 226), (206, 226, 236)], (1, 1, 1), (255, 250, 226)),
    "dawn": ([(112, 130, 190), (236, 176, 178), (255, 224, 176)], (0.98, 0.88, 0.84), (255, 240, 206)),
    "dusk": ([(44, 38, 98), (206, 82, 108), (255, 172, 84)], (0.8, 0.58, 0.56), (255, 226, 140)),
    "night": ([(5, 9, 28), (12, 22, 54), (34, 50, 92)], (0.22, 0.27, 0.44), (236, 238, 226)),
    "grey": ([(88, 98, 112), (134, 142, 150), (186, 190, 192)], (0.68, 0.71, 0.75), (222, 224, 224)),
}
# the ground far away and close by, and how much it rolls
_GROUNDS: dict[str, tuple[Colour, Colour, float]] = {
    "city": ((70, 72, 80), (44, 46, 54), 0.0),
    "meadow": ((138, 168, 84), (62, 112, 46), 0.02),
    "mountain": ((138, 168, 84), (62, 112, 46), 0.02),
    "forest": ((74, 88, 54), (44, 54, 34), 0.02),
    "desert": ((226, 178, 116), (196, 128, 70), 0.05),
    "snow": ((214, 224, 236), (238, 242, 248), 0.02),
}
_WALLS: list[Colour] = [(112, 128, 122), (148, 120, 128), (96, 112, 140), (170, 140, 100), (104, 92, 118)]
_BLOSSOMS: list[Colour] = [(240, 120, 170), (250, 214, 80), (244, 238, 240), (190, 110, 210)]


def compose(
    asked: Asked, chance: Chance, size: tuple[int, int], box: Box | None, backdrop: Image.Image | None = None
) -> Array:
    """The picture, (height, width, 3), 0 to 255. Its things stand inside `box` if there is one, and in front of
    `backdrop` if there is one."""
    scene = _Scene(asked, chance, Canvas(size))
    if backdrop is not None:
        scene.canvas.lay(np.asarray(backdrop))
        level = min(1.0, float(scene.canvas.paint.mean()) / 75)
        scene.light = level, level, level
    elif scene.studio:
        scene.wall()
    else:
        scene.landscape()
    scene.things(box)
    return scene.canvas.paint


class _Scene:
    def __init__(self, asked: Asked, chance: Chance, canvas: Canvas):
        self.asked, self.chance, self.canvas = asked, chance, canvas
        self.time = asked.pick(TIMES, ("day", "dawn", "dusk"), chance("time"))
        self.place = asked.pick(PLACES, PLACES[2:], chance("place"))
        self.studio = "face" in asked and not any(place in asked for place in PLACES)
        self.stops, self.light, self.sun = _SKIES[self.time]
        if asked.tint:
            self.stops = [mix(stop, asked.tint, 0.4) for stop in self.stops]
        self.haze = self.stops[2]
        self.horizon = chance("horizon", 0.5, 0.64)
        self.high = self.time in ("night", "day")  # sun or moon
        self.sun_x = chance("sun x", 0.15, 0.85)
        self.sun_y = chance("sun y", 0.1, 0.26) if self.high else self.horizon - chance("sun y", 0.02, 0.2)
        # how near each row of the ground is: 0 at the horizon, 1 at the lower edge
        self.near = np.clip((canvas.y - self.horizon) / (1 - self.horizon), 0, 1)

    def wall(self) -> None:
        canvas = self.canvas
        glow = np.exp(-(canvas.away(0.4, 0.35) ** 2) * 1.2)
        mottle = clouds(self.chance, "wall", canvas.size, 3, 5)
        tone = self.asked.tint or self.chance.one("wall", _WALLS)
        canvas.lay(np.multiply(tone, self.light) * (0.62 + 0.5 * glow + 0.06 * mottle)[..., None])

    def landscape(self) -> None:
        canvas, asked, place = self.canvas, self.asked, self.place
        self.sky()
        if place == "mountain" or "mountain" in asked:
            self.ridge("far range", 0.24, (112, 122, 142), 0.5, peaks=True)
            self.ridge("range", 0.17, (104, 98, 96), 0.2, peaks=True)
        elif "mountain" not in asked.banned and (place != "sea" or self.chance("coast") < 0.6):
            self.ridge("hills", 0.07, (92, 116, 124), 0.5)
        if place == "city":
            with canvas.pen(self.light) as pen:
                self.skyline(pen)
        if place == "sea" or "sea" in asked:
            if place != "sea" or "mountain" in asked or "forest" in asked:
                self.trees(16, 0, 0.008, 0.06, 0.12)
            self.water()
        else:
            self.ground()
            if place == "forest":
                self.trees(44, 0, 0.36, 0.22, 0.75)
            elif place in ("mountain", "meadow"):
                self.trees(7, 0.02, 0.1, 0.08, 0.2)
        if "snow" in asked:
            flakes = clouds(self.chance, "flakes", canvas.size, 90, 1)
            canvas.lay(WHITE, 0.8 * ramp(flakes, 2.6, 3.4))

    def sky(self) -> None:
        canvas, banned, night = self.canvas, self.asked.banned, self.time == "night"
        down = np.minimum(canvas.y[:, 0] / self.horizon, 1)
        canvas.lay(
            np.stack([np.interp(down, (0, 0.55, 1), stop) for stop in zip(*self.stops, strict=True)], -1)[:, None]
        )
        if night:
            canvas.lay(WHITE, ramp(clouds(self.chance, "stars", canvas.size, 110, 1), 3.2, 4.2))
        if self.time != "grey":
            far = canvas.away(self.sun_x, self.sun_y)
            canvas.lay(self.sun, np.exp(-far * (9 if self.high else 4.2)) * (0.45 if self.high else 0.75))
            canvas.lay(mix(self.sun, WHITE, 0.5), ramp(-far / (0.045 if self.high else 0.075), -1.1, -0.9))
        if "cloud" not in banned:
            cover = self.chance("cover", 0.35, 0.9) - (0.9 if self.time == "grey" or "cloud" in self.asked else 0)
            field = clouds(self.chance, "clouds", canvas.size, 2, 6, 3.0)
            shine = np.clip((field - np.roll(field, -max(1, canvas.short // 40), 0)) * 0.5 + 0.5, 0, 1)[..., None]
            top = mix(mix(WHITE, self.haze, 0.1 if self.time == "day" else 0.5), self.stops[1], 0.75 if night else 0.1)
            low = np.asarray(mix(self.stops[1], self.stops[0], 0.05 if self.time == "day" else 0.35))
            share = ramp(field, cover, cover + 1.3) * ramp(self.horizon - canvas.y, 0.0, 0.16)
            canvas.lay(low + (top - low) * shine, share * 0.85)

    def ridge(self, name: str, high: float, colour: Colour, hazy: float, peaks: bool = False) -> None:
        """A line of hills or mountains in front of the sky."""
        canvas = self.canvas
        width, height = canvas.size
        line = clouds(self.chance, name, (width, 1), 4, 6 if peaks else 3)[0]
        if peaks:
            line = 1.6 - 1.6 * np.abs(line)
        top = self.horizon - high * np.maximum(0.7 + 0.3 * line, 0.1)
        deep = canvas.y - top
        rock = clouds(self.chance, (name, "rock"), canvas.size, 6, 5)
        step = max(1, width // 100)
        slope = rock - np.roll(rock, step, 1) + (20 * (np.roll(top, step) - top) if peaks else 0)
        shine = np.clip(0.5 + (slope if self.sun_x < 0.5 else -slope) * 0.55, 0, 1)[..., None]
        tone = np.asarray(mix(colour, WHITE, 0.6 if "snow" in self.asked else 0)) * (0.55 + 0.65 * shine)
        if peaks and "snow" not in self.asked.banned:
            snow = ramp(-deep - rock * 0.022, -0.085, -0.045)[..., None]
            tone += (np.asarray((216, 224, 238)) * (0.62 + 0.45 * shine) - tone) * snow * 0.92
        sink = np.minimum(hazy + 0.45 * ramp(deep, 0, high), 0.92)[..., None]
        canvas.lay(tone * self.light * (1 - sink) + np.multiply(self.haze, sink), np.clip(deep * height + 0.5, 0, 1))

    def flat(self, name: str, cells: int, tall: float) -> Array:
        """A texture that lies on the ground: its rows crowd together towards the horizon."""
        texture = clouds(self.chance, name, self.canvas.size, cells, 5, tall)
        rows = (1 - 1 / (1 + 5 * self.near[:, 0])) * 1.19 * len(texture)
        return texture[rows.astype(int).clip(0, len(texture) - 1)]

    def water(self) -> None:
        canvas = self.canvas
        width, height = canvas.size
        edge = np.clip((canvas.y - self.horizon) * height + 0.5, 0, 1) * np.ones_like(canvas.x)
        ripple = self.flat("ripple", 3, 12.0)
        shift = (ripple * (0.004 + 0.03 * self.near) * canvas.short).astype(int)
        rows = np.clip(2 * round(self.horizon * height) - np.arange(height)[:, None] - 1 + shift // 2, 0, height - 1)
        mirror = canvas.paint[rows, (np.arange(width) + shift) % width]
        deep = np.multiply(self.asked.concepts.get("sea") or (26, 78, 112), self.light)
        share = np.clip(0.22 + 0.33 * self.near + 0.05 * ripple, 0, 1)[..., None]
        canvas.lay(mirror + (deep * (1 - 0.35 * self.near[..., None]) - mirror) * share, edge)
        if self.time != "grey":  # the sun's path
            path = np.exp(-np.abs(canvas.x - self.sun_x) * width / canvas.short / (0.04 + 0.16 * self.near))
            canvas.lay(self.sun, ramp(ripple, 0.3, 1.3) * path * edge * 0.75)
        canvas.lay(self.haze, ramp(ripple, 1.1, 2.2) * edge * 0.3)

    def ground(self) -> None:
        canvas, asked = self.canvas, self.asked
        far, close, roll = _GROUNDS["snow" if "snow" in asked else self.place]
        texture = self.flat("ground", 9, 2.0)
        for i in range(3):
            line = clouds(self.chance, ("swell", i), (canvas.size[0], 1), 3, 2)[0]
            deep = canvas.y - self.horizon - 0.11 * i - roll * (i + 0.5) * line
            tone = np.multiply(mix(far, close, 0.1 + 0.36 * i), self.light)
            shade = 0.9 + 0.1 * texture + 0.22 * ramp(-deep, -0.12, 0)
            tone = tone + (self.haze - tone) * (0.3 - 0.13 * i)
            canvas.lay(tone * shade[..., None], np.clip(deep * canvas.size[1] + 0.5, 0, 1))
        if self.place == "meadow" and "snow" not in asked and "flower" not in asked.banned:
            with canvas.pen(self.light) as pen:
                self.blossoms(pen, 700 if "flower" in asked else 150)

    def blossoms(self, pen: Pen, count: int) -> None:
        colour = self.asked.concepts.get("flower")
        places = (self.chance.normal("blossoms", count, 3) % 1).tolist()
        for x, far, tone in sorted(places, key=lambda place: place[1])[:: max(1, 200 // self.canvas.short)]:
            near = 0.02 + 0.98 * far**1.7
            pen.at(x, self.horizon + 0.05 + (0.96 - self.horizon) * near, 0.004 + 0.017 * near)
            shade = mix(colour or _BLOSSOMS[int(tone * 4)], BLACK, 0.35 * (tone * 97 % 1))
            pen.oval("0 0 100 75", shade)
            pen.oval("-15 -30 60 40", mix(shade, WHITE, 0.28))

    def trees(self, count: int, first: float, last: float, small: float, large: float) -> None:
        """Firs from far to near, `first` to `last` under the horizon, `small` to `large`."""
        if "tree" in self.asked.banned:
            return
        base = self.asked.concepts.get("tree") or self.asked.concepts.get("forest") or (30, 62, 48)
        haze = [c / max(k, 0.2) for c, k in zip(self.haze, self.light, strict=True)]
        with self.canvas.pen(self.light) as pen:
            for i in range(count):
                near = (i / count) ** 1.5
                chance = self.chance.child("fir", i)
                x = chance("x", -0.03, 1.03)
                if self.place == "forest" and near > 0.3:  # leave a clearing in the middle
                    x = x * 0.38 if x < 0.5 else 1 - (1 - x) * 0.38
                size = (small + (large - small) * near) * chance("size", 0.7, 1.15)
                snowy = "snow" in self.asked and i % 3
                tone = mix((196, 208, 220) if snowy else base, haze, 0.55 * (1 - near) ** 2)
                tree(pen.at(x, self.horizon + first + (last - first) * near, size), chance, tone)

    def skyline(self, pen: Pen) -> None:
        dark = max(self.light) < 0.99
        for i in range(34):
            near, chance = i / 34, self.chance.child("tower", i)
            wide, high = chance("wide", 3.5, 8.5), chance("high", 10, 34) * (1.25 - near * 0.5)
            pen.at(chance("x", -0.02, 1.02), self.horizon + 0.02, 1)
            haze = [c / max(k, 0.25) for c, k in zip(self.haze, self.light, strict=True)]
            tone = mix(mix((70, 78, 96), (128, 118, 116), chance("tone")), haze, 0.55 * (1 - near))
            pen.fill(box(-wide, -high, wide, 10), tone)
            pen.fill(box(wide * 0.3, -high, wide, 10), BLACK, 0.25)
            lit = chance.normal("lit", 30, 10) < (0.0 if dark else 0.7)
            for row in range(int(high / 2.4)):
                for column in range(int(wide / 0.9)):
                    if lit[row % 30, column]:
                        x, y = column * 1.8 + 0.8 - wide, row * 2.4 + 1.2 - high
                        shade = LAMP if dark else mix(tone, (190, 215, 235), 0.45)
                        pen.fill(box(x, y, x + 0.9, y + 1.2), shade, 0.35 + 0.6 * near, glow=dark)

    def things(self, inside: Box | None) -> None:
        with self.canvas.pen(self.light) as pen:
            for thing in KINDS:
                if thing in self.asked and not (thing == "tree" and self.place == "forest"):
                    self.stand(pen, thing, inside)
            if "face" in self.asked:
                self.person(pen, inside)

    def stand(self, pen: Pen, thing: str, inside: Box | None) -> None:
        kind, chance = KINDS[thing], self.chance.child(thing)
        (small, large), (first, last) = kind.size, kind.below
        count = kind.several if thing in self.asked.many else 1
        for i, near in enumerate(sorted(chance(("near", i)) for i in range(count))):
            size = small + (large - small) * (near if count > 1 else chance("size"))
            along = (i * 0.618 + chance("along")) % 1
            x, y = 0.18 + 0.64 * along, min(self.horizon + first + (last - first) * near, 0.97)
            if inside is not None:
                left, top, right, bottom = inside
                wide, tall = self.canvas.size
                size = min((bottom - top) * tall, (right - left) * wide) / self.canvas.short * 0.9 / count**0.4
                x = left + (right - left) * (0.5 if count == 1 else 0.2 + 0.6 * along)
                y = bottom - (bottom - top) * (0.08 + 0.3 * (1 - near) * (count > 1))
            kind.draw(pen.at(x, y, size), chance.child(i), self.asked.concepts[thing])

    def person(self, pen: Pen, inside: Box | None) -> None:
        chance = self.chance.child("face")
        size, x, y = chance("size", 0.22, 0.28), chance("x", 0.44, 0.56), 0.47
        if inside is not None:
            left, top, right, bottom = inside
            wide, tall = self.canvas.size
            size = min((right - left) * wide, (bottom - top) * tall) / self.canvas.short / BOX_SIDE
            x, y = (left + right) / 2, (top + bottom) / 2 - BOX_MIDDLE * size * self.canvas.short / tall
        pen.light = tuple(0.5 + 0.5 * k for k in self.light)  # type: ignore[assignment]
        face(pen.at(x, y, size), chance, self.asked)
