"""Composes one picture from what was asked for: light, place, things, in the order a painter would."""

import numpy as np
from PIL import Image

from .chance import Array, Chance, ramp, stretch
from .easel import WHITE, Easel, Pen, mix
from .face import BOX_MIDDLE, BOX_SIDE, face
from .things import KINDS, fir, tree
from .words import PLACES, THINGS, TIMES, Asked, Colour

Box = tuple[float, float, float, float]  # left, top, right, bottom in 0..1

# sky from the top to the horizon, the light on things, the sun's colour
_SKIES: dict[str, tuple[tuple[Colour, Colour, Colour], tuple[float, float, float], Colour]] = {
    "day": (((44, 104, 190), (110, 168, 226), (206, 226, 236)), (1, 1, 1), (255, 250, 226)),
    "dawn": (((112, 130, 190), (236, 176, 178), (255, 224, 176)), (0.98, 0.88, 0.84), (255, 240, 206)),
    "dusk": (((44, 38, 98), (206, 82, 108), (255, 172, 84)), (0.8, 0.58, 0.56), (255, 226, 140)),
    "night": (((5, 9, 28), (12, 22, 54), (34, 50, 92)), (0.22, 0.27, 0.44), (236, 238, 226)),
    "grey": (((88, 98, 112), (134, 142, 150), (186, 190, 192)), (0.68, 0.71, 0.75), (222, 224, 224)),
}
_USUAL_TIMES = ("day", "day", "dawn", "dusk")
_LAND = ("meadow", "mountain", "forest", "desert")


def compose(asked: Asked, chance: Chance, size: tuple[int, int], box: Box | None) -> Array:
    """The whole picture, (height, width, 3), 0 to 255; its things stand inside `box` if there is one."""
    return _Scene(asked, chance, Easel(size, chance)).all(box)


def insert(asked: Asked, chance: Chance, backdrop: Image.Image, box: Box | None) -> Array:
    """The things asked for, in front of a picture that is there already."""
    scene = _Scene(asked, chance, Easel(backdrop.size, chance, backdrop))
    mean = scene.easel.paint.mean() / 150
    scene.easel.light = (mean, mean, mean) if mean < 0.5 else (1, 1, 1)
    scene.things(box)
    return scene.easel.paint


class _Scene:
    def __init__(self, asked: Asked, chance: Chance, easel: Easel):
        self.asked, self.chance, self.easel = asked, chance, easel
        mood = Chance(0).child(asked.mood)
        self.time = asked.one_of(TIMES, chance("time"), _USUAL_TIMES)
        self.studio = asked.wants("face") and not asked.concepts.intersection(PLACES)
        self.things_asked = [thing for thing in THINGS if asked.wants(thing)]
        usual = _LAND if self.things_asked else ("sea", *_LAND)
        self.place = asked.one_of(PLACES, (mood if asked.mood else chance)("place"), usual)
        stops, self.light, self.sun = _SKIES[self.time]
        tint = asked.colours.get("") or tuple(round(mood(f"tint{i}", 90, 200)) for i in range(3))
        share = 0.4 if "" in asked.colours else 0.08 if asked.mood else 0.0
        self.stops = [mix(stop, tint, share) for stop in stops]
        self.haze = self.stops[2]
        self.tint = tint, share * 0.7
        self.horizon = chance("horizon", 0.5, 0.64)
        self.sun_x, self.sun_y = chance("sun x", 0.15, 0.85), self.horizon - chance("sun y", 0.02, 0.2)
        if self.time in ("night", "day"):
            self.sun_y = chance("sun high", 0.1, 0.26)

    def all(self, box: Box | None) -> Array:
        if self.place == "space" and not self.studio:
            self.space()
        elif self.studio:
            self.wall(_wall_tone(self.chance, "wall"))
        elif self.place == "room":
            self.table()
        else:
            self.landscape()
        self.things(box)
        self.weather()
        return np.clip(self.easel.paint, 0, 255, out=self.easel.paint)

    # light and air

    def lit(self, colour: Colour) -> Array:
        tint, share = self.tint
        return np.asarray(mix(colour, tint, share), np.float32) * np.asarray(self.light, np.float32)

    def sky(self) -> None:
        easel, asked = self.easel, self.asked
        v = np.minimum(easel.y[:, 0] / self.horizon, 1)
        rows = np.stack([np.interp(v, (0, 0.55, 1), [s[c] for s in self.stops]) for c in range(3)], -1)
        easel.lay(rows[:, None, :])
        if self.time == "night" and asked.allows("star"):
            with easel.shapes() as pen:
                for i in range(130):
                    x, y = self.chance(("star", i), 0, 1), self.chance(("star y", i), 0, self.horizon)
                    big = self.chance(("star r", i), 0.0012, 0.0034)
                    pen.at(x, y, 1).oval(0, 0, big, big, (255, 250, 236), self.chance(("star a", i), 0.3, 1), glow=True)
        if asked.wants("aurora"):
            self.aurora()
        high = self.time in ("night", "day")
        if self.time != "grey" and asked.allows("moon" if self.time == "night" else "sun"):
            far = easel.away(self.sun_x, self.sun_y)
            easel.lay(self.sun, np.exp(-far * (9 if high else 4.2)) * (0.45 if high else 0.75))
            disc = 0.045 if high else 0.075
            easel.lay(mix(self.sun, WHITE, 0.5), ramp(-far, -disc - 0.006, -disc + 0.006))
        if asked.allows("cloud"):
            self.cloudy()
        if asked.wants("rainbow"):
            far = easel.away(0.5, self.horizon + 0.1)
            for i, tone in enumerate(
                ((225, 50, 50), (245, 150, 40), (245, 230, 70), (70, 190, 90), (60, 120, 220), (130, 70, 190))
            ):
                easel.lay(tone, 0.45 * np.exp(-(((far - 0.62 + 0.022 * i) / 0.014) ** 2)))

    def cloudy(self) -> None:
        easel = self.easel
        cover = self.chance("cover", 0.35, 0.9) - (0.9 if self.time == "grey" or self.asked.wants("cloud") else 0)
        field = easel.clouds("clouds", 2, 6, 3.0)
        shift = max(1, easel.small // 40)
        shine = np.clip((field - np.roll(field, -shift, 0)) * 0.5 + 0.5, 0, 1)[..., None]
        top = np.asarray(
            mix(
                mix(WHITE, self.haze, 0.5 if self.time != "day" else 0.1),
                self.stops[1],
                0.75 if self.time == "night" else 0.1,
            )
        )
        low = np.asarray(mix(self.stops[1], self.stops[0], 0.35 if self.time != "day" else 0.05))
        fade = ramp(self.horizon - easel.y, 0.0, 0.16)
        easel.lay(low + (top - low) * shine, ramp(field, cover, cover + 1.3) * fade * 0.85)

    def aurora(self) -> None:
        easel = self.easel
        wave = stretch(self.chance.normal("aurora", 1, 7), (easel.size[0], 1))[0]
        ray = stretch(self.chance.normal("rays", 1, 60), (easel.size[0], 1))[0]
        for i, tone in enumerate(((60, 240, 150), (80, 220, 210), (170, 90, 220))):
            foot = self.horizon * (0.62 - 0.14 * i) + 0.05 * np.roll(wave, i * easel.size[0] // 5)
            up = foot[None, :] - easel.y
            easel.lay(
                tone,
                ramp(up, -0.03, 0.02) * np.exp(-np.maximum(up, 0) * (9 - 2 * i)) * (0.55 + 0.13 * ray)[None, :],
            )

    def weather(self) -> None:
        asked = self.asked
        if self.studio or not (asked.wants("rain") or asked.wants("snow")):
            return
        with self.easel.shapes() as pen:
            for i in range(170):
                pen.at(self.chance(("drop", i)), self.chance(("drop y", i)), 1)
                near = self.chance(("drop r", i)) ** 3
                if asked.wants("rain"):
                    pen.line([(0, 0), (-0.008, 0.03 + 0.05 * near)], 0.002, (210, 220, 230), 0.28 + 0.2 * near)
                else:
                    pen.oval(0, 0, 0.002 + 0.006 * near, 0.002 + 0.006 * near, WHITE, 0.8, glow=True)

    # places

    def landscape(self) -> None:
        easel, place, asked = self.easel, self.place, self.asked
        self.sky()
        easel.light = self.light
        if place == "mountain" or asked.wants("mountain"):
            self.ridge("far range", 0.24, (112, 122, 142), 0.5, peaks=True)
            self.ridge("range", 0.17, (104, 98, 96), 0.2, peaks=True)
        elif place != "sea" and asked.allows("mountain"):
            self.ridge("far hills", 0.07, (92, 116, 124), 0.55)
        if place == "city":
            self.skyline()
        water = (
            place == "sea"
            or asked.wants("sea")
            or (place == "mountain" and self.chance("lake") < 0.5 and not self.things_asked and asked.allows("sea"))
        )
        if asked.wants("fog"):
            easel.lay(self.haze, 0.75 * np.exp(-(((easel.y - self.horizon) / 0.13) ** 2)))
        if water:
            if place == "sea" and self.chance("coast") < 0.6:
                self.ridge("coast", 0.05, (84, 92, 84), 0.35)
            if place == "forest" or (place == "mountain" and asked.allows("tree")):
                self.firs(16, (0.0, 0.008), (0.06, 0.12))
            self.water()
        else:
            self.ground()
            if place == "forest":
                self.firs(44, (0.0, 0.36), (0.22, 0.75))
            elif place in ("mountain", "meadow") and asked.allows("tree"):
                self.firs(7, (0.02, 0.1), (0.08, 0.2))
        if asked.wants("fog"):
            easel.lay(self.haze, ramp(easel.clouds("fog", 2, 4, 3.0), -1.2, 2.2) * 0.6)

    def ridge(self, name: str, high: float, colour: Colour, hazy: float, peaks: bool = False) -> None:
        """A line of hills or mountains in front of the sky."""
        easel = self.easel
        width, height = easel.size
        line = np.zeros(width, np.float32)
        for octave in range(6 if peaks else 3):
            grid = self.chance.normal((name, octave), 1, 4 << octave)
            line += (
                stretch(grid, (width, 1), Image.Resampling.BILINEAR if peaks else Image.Resampling.BICUBIC)[0]
                * 0.52**octave
            )
        top = self.horizon - high * (0.8 + 0.36 * np.clip(line, -1.4, 2)) * (1.15 if peaks else 0.8)
        deep = (easel.y - top[None, :]) * height
        rock = easel.clouds(f"{name} rock", 7 if peaks else 5, 5)
        step = max(1, width // 100)
        slope = rock - np.roll(rock, step, 1)
        if peaks:
            slope = slope + 20 * np.repeat((np.roll(top, step) - top)[None, :], height, 0)
        toward = 1 if self.sun_x > 0.5 else -1
        shine = np.clip(0.5 - toward * slope * 0.55, 0.0, 1)[..., None]
        if self.asked.wants("snow"):
            colour = mix(colour, (225, 230, 238), 0.7)
        base = np.asarray(colour, np.float32)
        tone = base * (0.55 + 0.65 * shine)
        if peaks and self.asked.allows("snow"):
            snow = ramp(-(deep / height + rock * 0.022), -0.085, -0.045)[..., None]
            tone = tone + (np.asarray((216, 224, 238)) * (0.62 + 0.45 * shine) - tone) * snow * 0.92
        tone = tone * np.asarray(self.light, np.float32)
        sink = ramp(deep / height, 0.0, high)[..., None] * 0.45
        easel.lay(tone + (np.asarray(self.haze) - tone) * np.minimum(hazy + sink, 0.92), np.clip(deep + 0.5, 0, 1))

    def below(self) -> tuple[Array, Array]:
        """How near each row is (0 at the horizon, 1 at the lower edge), and where the horizon's edge lies."""
        easel = self.easel
        near = np.clip((easel.y - self.horizon) / (1 - self.horizon), 0, 1)
        return near, np.clip((easel.y - self.horizon) * easel.size[1] + 0.5, 0, 1) * np.ones_like(easel.x)

    def flat(self, name: str, cells: int, tall: float) -> Array:
        """A texture that lies on the ground: its rows crowd together towards the horizon."""
        near, _ = self.below()
        texture = self.easel.clouds(name, cells, 5, tall)
        rows = (1 - 1 / (1 + 5 * near[:, 0])) * 1.19 * (self.easel.size[1] - 1)
        return texture[rows.astype(int).clip(0, self.easel.size[1] - 1)]

    def water(self) -> None:
        easel = self.easel
        width, height = easel.size
        near, edge = self.below()
        ripple = self.flat("ripple", 3, 12.0)
        cut = round(self.horizon * height)
        rows = np.clip(2 * cut - np.arange(height) - 1, 0, max(cut - 1, 0))
        shift = (ripple * (0.004 + 0.03 * near) * easel.small).astype(int)
        mirror = easel.paint[
            np.clip(rows[:, None] + shift // 2, 0, height - 1), (np.arange(width)[None, :] + shift) % width
        ]
        deep = self.asked.colours.get("sea", (26, 78, 112) if self.place == "sea" else (34, 66, 84))
        bluish = self.lit(deep) * (1 - 0.35 * near[..., None])
        share = (0.22 + 0.33 * near + 0.05 * ripple)[..., None]
        easel.lay(mirror + (bluish - mirror) * np.clip(share, 0, 1), edge)
        if self.time != "grey":
            across = np.abs(easel.x - self.sun_x) * width / easel.small
            path = np.exp(-across / (0.04 + 0.16 * near))
            easel.lay(self.sun, ramp(ripple, 0.3, 1.3) * path * edge * 0.75)
        easel.lay(self.haze, ramp(ripple, 1.1, 2.2) * edge * 0.3)

    def ground(self) -> None:
        easel, asked = self.easel, self.asked
        _, edge = self.below()
        far, close, cells = {
            "desert": ((226, 178, 116), (196, 128, 70), 4),
            "city": ((70, 72, 80), (44, 46, 54), 5),
            "forest": ((74, 88, 54), (44, 54, 34), 9),
        }.get(self.place, ((138, 168, 84), (62, 112, 46), 12))
        if asked.wants("snow"):
            far, close, cells = (214, 224, 236), (238, 242, 248), 4
        elif asked.wants("autumn"):
            far, close = (186, 150, 74), (140, 92, 40)
        if self.place == "desert":
            for i, high in enumerate((0.05, -0.06, -0.2)):
                self.dune(i, high, mix(far, close, 0.25 + i * 0.3))
            return
        for i in range(3):
            grid = self.chance.normal(("swell", i), 1, 4)
            top = self.horizon + 0.11 * i + 0.022 * (1 + i) * stretch(grid, (easel.size[0], 1))[0]
            deep = (easel.y - top[None, :]) * easel.size[1]
            tone = self.lit(mix(far, close, 0.1 + 0.36 * i))
            shade = (0.9 + 0.1 * self.flat("ground", cells, 2.0) + 0.22 * ramp(-deep / easel.size[1], -0.12, 0))[
                ..., None
            ]
            hazy = np.float32(0.3 - 0.13 * i)
            easel.lay(
                (tone + (np.asarray(self.haze) - tone) * hazy) * shade,
                np.clip(deep + 0.5, 0, 1) if i else np.maximum(edge, np.clip(deep + 0.5, 0, 1)),
            )
        if self.place == "city":
            easel.lay(self.haze, ramp(self.flat("wet", 3, 9.0), 0.4, 2.4) * edge * 0.5)
        if asked.wants("flower") or (
            self.place == "meadow" and not asked.concepts & {"snow", "autumn"} and asked.allows("flower")
        ):
            self.blossoms(900 if asked.wants("flower") else 160)

    def dune(self, number: int, high: float, colour: Colour) -> None:
        easel = self.easel
        width, height = easel.size
        line = stretch(self.chance.normal(("dune", number), 1, 4), (width, 1))[0]
        top = self.horizon - high * 0.9 - 0.05 * line
        deep = easel.y - top[None, :]
        crest = np.gradient(top) * width
        lean = 1 if self.sun_x > 0.5 else -1
        shine = np.clip(0.5 + lean * crest[None, :] * 1.6 + 0.9 * deep, 0, 1)
        wind = self.flat(f"wind{number}", 2, 18.0) * 0.045
        easel.lay(self.lit(colour) * (0.55 + 0.55 * shine + wind)[..., None], np.clip(deep * height + 0.5, 0, 1))

    def blossoms(self, count: int) -> None:
        colour = self.asked.colours.get("flower")
        tones = [colour] * 3 if colour else [(226, 60, 70), (250, 214, 80), (244, 238, 240), (190, 110, 210)]
        spots = np.random.Generator(np.random.PCG64(int(self.chance("blossom", 0, 2**40))))
        places = spots.random((count, 3))[:: max(1, 300 // self.easel.small)]  # a sketch needs fewer
        places = places[np.argsort(places[:, 1])]
        with self.easel.shapes() as pen:
            for x, v, tone in places:
                near = 0.02 + 0.98 * v**1.7
                pen.at(x, self.horizon + 0.05 + (0.96 - self.horizon) * near, 0.004 + 0.017 * near)
                shade = mix(tones[int(tone * len(tones))], (40, 20, 30), 0.35 * ((x * 977) % 1))
                pen.oval(0, 0, 1, 0.75, shade)
                pen.oval(-0.15, -0.3, 0.6, 0.4, mix(shade, WHITE, 0.28))

    def firs(self, count: int, below: tuple[float, float], size: tuple[float, float]) -> None:
        snowy, autumn = self.asked.wants("snow"), self.asked.wants("autumn")
        colour = self.asked.colours.get("tree") or self.asked.colours.get("forest")
        with self.easel.shapes() as pen:
            for i in range(count):
                near = (i / count) ** 1.5
                chance = self.chance.child("fir", i)
                x = chance("x", -0.03, 1.03)
                if self.place == "forest" and near > 0.3:  # leave a clearing in the middle
                    x = x * 0.38 if x < 0.5 else 1 - (1 - x) * 0.38
                pen.at(
                    x,
                    self.horizon + below[0] + (below[1] - below[0]) * near,
                    (size[0] + (size[1] - size[0]) * near) * chance("s", 0.7, 1.15),
                )
                base = colour or (
                    (214, 120 + int(60 * chance("a")), 44)
                    if autumn
                    else (196, 208, 220)
                    if snowy and i % 3
                    else (30, 62, 48)
                )
                tone = mix(
                    base,
                    [c / max(k, 0.2) for c, k in zip(self.haze, self.light, strict=True)],
                    0.55 * (1 - near) ** 2 if self.place == "forest" else 0.2,
                )
                (tree if autumn else fir)(pen, chance, tone)

    def skyline(self) -> None:
        dark = max(self.light) < 0.99
        neon = "neon" in self.asked.words or "cyberpunk" in self.asked.words
        with self.easel.shapes() as pen:
            for i in range(34):
                near = i / 34
                chance = self.chance.child("tower", i)
                wide, high = chance("w", 0.035, 0.085), chance("h", 0.1, 0.34) * (1.25 - near * 0.5)
                pen.at(chance("x", -0.02, 1.02), self.horizon + 0.02, 1)
                tone = mix(
                    mix((70, 78, 96), (128, 118, 116), chance("t")),
                    [c / max(k, 0.25) for c, k in zip(self.haze, self.light, strict=True)],
                    0.55 * (1 - near),
                )
                pen.poly([(-wide, 0.1), (-wide, -high), (wide, -high), (wide, 0.1)], tone)
                pen.poly([(wide * 0.3, 0.1), (wide * 0.3, -high), (wide, -high), (wide, 0.1)], (20, 20, 30), 0.25)
                if chance("mast") < 0.3:
                    pen.line([(0, -high), (0, -high - 0.05)], 0.004, tone)
                glass = (
                    [(255, 90, 200), (90, 230, 255), (255, 210, 120)][int(chance("g", 0, 2.99))]
                    if neon
                    else (255, 214, 130)
                )
                spots = np.random.Generator(np.random.PCG64(int(chance("windows", 0, 2**40)))).random((30, 6))
                for row in range(int(high / 0.024)):
                    for column in range(int(wide * 2 / 0.018)):
                        if spots[row % 30, column % 6] < (0.5 if dark else 0.75):
                            x, y = -wide + 0.008 + column * 0.018, -high + 0.012 + row * 0.024
                            shade = glass if dark else mix(tone, (190, 215, 235), 0.45)
                            pen.poly(
                                [(x, y), (x + 0.009, y), (x + 0.009, y + 0.012), (x, y + 0.012)],
                                shade,
                                0.85 * (0.35 + 0.65 * near),
                                glow=dark,
                            )

    def space(self) -> None:
        easel, chance = self.easel, self.chance
        easel.lay((6, 6, 16))
        for i in range(2):
            tone = [(120, 50, 170), (30, 130, 170), (200, 70, 110), (50, 70, 190)][int(chance(("gas", i), 0, 3.99))]
            gas = ramp(easel.clouds(f"gas{i}", 2, 6), -0.1, 2.6)
            easel.lay(self.asked.colours.get("", tone) if i == 0 else tone, gas * 0.85)
            easel.lay(WHITE, gas**3 * 0.6)
        with easel.shapes() as pen:
            for i in range(240):
                big = chance(("star r", i)) ** 5 * 0.005 + 0.0012
                pen.at(chance(("star", i)), chance(("star y", i)), 1).oval(
                    0, 0, big, big, (255, 250, 240), chance(("star a", i), 0.3, 1)
                )
        x, y, big = (
            chance("planet x", 0.3, 0.7),
            chance("planet y", 0.35, 0.65),
            chance("planet r", 0.16, 0.28),
        )
        far = easel.away(x, y) / big
        u, v = (
            (easel.x - x) * easel.size[0] / easel.small / big,
            (easel.y - y) * easel.size[1] / easel.small / big,
        )
        ball = np.clip((-0.6 * u - 0.5 * v + 0.62 * np.sqrt(np.clip(1 - far**2, 0, 1))), 0.03, 1) ** 0.8
        bands = ramp(np.sin(v * chance("bands", 5, 11) + easel.clouds("swirl", 3, 4, 3.0) * 0.7), -1, 1)[..., None]
        main = (
            self.asked.colours.get("space")
            or [(222, 160, 110), (96, 140, 200), (170, 120, 190), (110, 180, 150)][int(chance("planet", 0, 3.99))]
        )
        tone = np.asarray(mix(main, WHITE, 0.35)) * (1 - bands) + np.asarray(mix(main, (40, 20, 40), 0.4)) * bands
        ringed = chance("ring") < 0.5
        tilt = v + 0.25 * u
        ring = np.hypot(u * 0.55, tilt * 2.4)
        hoop = ramp(-np.abs(ring - 0.95), -0.24, -0.18) * (0.6 + 0.3 * np.sin(ring * 60)) * ringed
        easel.lay(mix(main, WHITE, 0.5), hoop * (tilt < 0) * 0.8)
        easel.lay(main, np.exp(-np.maximum(far - 1, 0) * 12) * 0.3)
        easel.lay(tone * ball[..., None], np.clip((1 - far) * big * easel.small + 0.5, 0, 1))
        easel.lay(mix(main, WHITE, 0.5), hoop * (tilt >= 0) * 0.8)

    def wall(self, tone: Colour) -> None:
        easel = self.easel
        mottle = easel.clouds("wall", 3, 5)
        glow = np.exp(-(easel.away(0.4, 0.35) ** 2) * 1.2)
        tint, share = self.tint
        base = np.asarray(mix(tone, tint, share * 2), np.float32) * np.asarray(self.light, np.float32)
        easel.light = tuple(0.45 + 0.55 * k for k in self.light)  # type: ignore[assignment]
        easel.lay(base * (0.62 + 0.5 * glow + 0.06 * mottle)[..., None])

    def table(self) -> None:
        easel = self.easel
        self.wall(_wall_tone(self.chance, "wall"))
        near, edge = self.below()
        grain = easel.clouds("grain", 2, 5, 24.0)
        wood = self.lit(mix((132, 84, 50), (96, 62, 44), self.chance("wood")))
        easel.lay(wood * (1.05 + 0.12 * grain - 0.3 * near)[..., None], edge)
        easel.lay((20, 14, 12), 0.35 * np.exp(-np.abs(easel.y - self.horizon) * 60) * np.ones_like(easel.x))

    # things

    def things(self, box: Box | None) -> None:
        wide, tall = self.easel.size
        with self.easel.shapes() as pen:
            for thing in self.things_asked:
                chance = self.chance.child(thing)
                if thing == "face":
                    self.person(pen, chance, box)
                    continue
                kind = KINDS[thing]
                if thing == "flower" and box is None and self.place != "room" and thing in self.asked.many:
                    continue  # a field of them is there already
                if thing == "tree" and self.place == "forest":
                    continue
                count = kind.several if thing in self.asked.many else 1
                spots = sorted((chance(("below", i), *kind.below), i) for i in range(count))
                for place, (below, i) in enumerate(spots):
                    near = (below - kind.below[0]) / (kind.below[1] - kind.below[0])
                    size = kind.size[0] + (kind.size[1] - kind.size[0]) * (near if count > 1 else chance("size"))
                    slot = (place * 0.618 + chance("slot")) % 1 if count > 1 else chance("x", 0.22, 0.78)
                    x, y = 0.12 + 0.76 * slot, self.horizon + below
                    if kind.below[0] >= 0.3:
                        x, y = 0.2 + 0.6 * slot, min(y, 0.97)
                    if box is not None:
                        left, top, right, bottom = box
                        size = (
                            min((bottom - top) * tall, (right - left) * wide * 1.05)
                            / min(wide, tall)
                            * 0.88
                            / count**0.4
                        )
                        x = left + (right - left) * (0.5 if count == 1 else 0.2 + 0.6 * slot)
                        y = bottom - (bottom - top) * (0.08 + 0.3 * (1 - near) * (count > 1))
                    kind.draw(pen.at(x, y, size), chance.child(i), self.asked.colours.get(thing))

    def person(self, pen: Pen, chance: Chance, box: Box | None) -> None:
        wide, tall = self.easel.size
        small = min(wide, tall)
        unit = chance("near", 0.25, 0.29) if self.studio else chance("near", 0.22, 0.25)
        x, y = chance("x", 0.44, 0.56), 0.46 if self.studio else 0.5
        if box is not None:
            left, top, right, bottom = box
            unit = min((right - left) * wide, (bottom - top) * tall) / small / BOX_SIDE
            x, y = (left + right) / 2, (top + bottom) / 2 - BOX_MIDDLE * unit * small / tall
        pen.light = tuple(0.5 + 0.5 * k for k in pen.light)  # type: ignore[assignment]
        face(pen.at(x, y, unit), chance, self.asked)


def _wall_tone(chance: Chance, name: str) -> Colour:
    tones: list[Colour] = [(112, 128, 122), (148, 120, 128), (96, 112, 140), (170, 140, 100), (104, 92, 118)]
    return tones[int(chance(name, 0, 4.99))]
