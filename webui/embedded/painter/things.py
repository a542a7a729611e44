"""The things a prompt can put into a picture. Each stands on (0, 0) and is about 100 units high."""

import math
from collections.abc import Callable
from typing import NamedTuple

from .chance import Chance
from .pen import BLACK, LAMP, WHITE, Colour, Pen, mix
from .words import Asked

_WOOD = (110, 68, 44)
_PETALS: list[Colour] = [(245, 236, 240), (250, 190, 50), (240, 120, 170), (150, 90, 210), (50, 150, 190)]
_COATS: list[Colour] = [(232, 150, 70), (120, 116, 122), (70, 62, 64), (232, 212, 180)]
_FACE: dict[str, list[Colour]] = {
    "skin": [(248, 216, 194), (236, 192, 160), (214, 162, 124), (176, 122, 86), (156, 106, 76)],
    "hair": [(44, 32, 30), (90, 58, 38), (150, 84, 44), (214, 172, 96), (176, 70, 36)],
    "eyes": [(70, 110, 160), (90, 130, 80), (110, 76, 48), (100, 110, 120)],
    "shirt": [(40, 96, 140), (170, 56, 60), (90, 130, 80), (120, 80, 150), (210, 150, 60), (60, 70, 86)],
}


def lighthouse(pen: Pen, chance: Chance, asked: Asked) -> None:
    pen.fill("-56 4 -46 -3 -34 -5 -20 -12 2 -11 16 -13 28 -6 44 -5 56 4", (88, 82, 80))
    for i in range(5):
        top, half = 12.4 * i - 72, 5.5 + i
        band = f"{-half} {top} {half} {top} {half + 1} {top + 12.4} {-half - 1} {top + 12.4}"
        pen.fill(band, (asked.colours.get("lighthouse") or (196, 48, 44)) if i % 2 else (240, 236, 226))
    pen.fill("1 -72 5.5 -72 10.5 -10 2 -10", BLACK, 0.22)
    pen.fill("-8.5 -71 -8.5 -75 8.5 -75 8.5 -71", BLACK)
    pen.fill("-4.5 -75 -4.5 -85 4.5 -85 4.5 -75", LAMP)
    pen.fill("~-7.5 -84 -5 -90 0 -96 5 -90 7.5 -84", (70, 40, 44))
    pen.soft("0 -80 22 14", LAMP, 0.6)
    if pen.light[0] < 0.9:
        pen.fill("=0 -81 0 -79 250 -55 250 -105", LAMP, 0.16)


def boat(pen: Pen, chance: Chance, asked: Asked) -> None:
    sail = asked.colours.get("boat") or mix((250, 244, 230), (226, 90, 60), chance("sail") ** 3)
    pen.soft("0 5 55 9", BLACK, 0.5)
    pen.line("0 -10 0 -100", 2, _WOOD)
    pen.fill("~2 -97 10 -88 30 -50 36 -20 2 -17", sail)
    pen.fill("~-2 -88 -20 -50 -36 -20 -2 -17", mix(sail, BLACK, 0.14))
    pen.fill("-46 -12 48 -15 42 -4 30 3 -30 3", _WOOD)
    pen.fill("-46 -12 48 -15 46 -10 -44 -8", (236, 222, 196))


def castle(pen: Pen, chance: Chance, asked: Asked) -> None:
    stone = asked.colours.get("castle") or (168, 156, 148)
    roof = mix((120, 50, 60), (60, 70, 120), chance("roof"))
    for x, half, high in ((-14, 9, 62), (15, 7, 54), (0, 50, 34), (-46, 8.5, 46), (46, 8.5, 43)):
        top, shade = -high * chance(x, 0.94, 1.06), 0 if half == 50 else 0.25
        tip, eaves = top - half * 3.4, half * 1.25
        pen.fill(f"{x - half} 0 {x - half} {top} {x + half} {top} {x + half} 0", stone)
        if half == 50:  # the wall between the towers
            for i in range(12):
                pen.line(f"{8 * i - 46} {top + 2} {8 * i - 42} {top + 2}", 4, BLACK, 0.5)
            continue
        pen.fill(f"{x - eaves} {top} {x} {tip} {x + eaves} {top}", roof)
        pen.fill(f"{x} 0 {x} {tip} {x + eaves} {top} {x + half} {top} {x + half} 0", BLACK, shade)
        pen.fill(f"{x} {tip + 3} {x} {tip - 9} {x + 9} {tip - 6} {x} {tip - 3}", (220, 60, 60))
        pen.oval(f"{x - half * 0.3} {top * 0.8} 1.6 3.2", LAMP)
    pen.fill("|0 -24 6 -20 9 -14 9 0", (48, 34, 32))


def tower(pen: Pen, chance: Chance, asked: Asked) -> None:
    half, high, night = chance("half", 30, 70), chance("high", 80, 290), pen.light[0] < 0.9
    wall = asked.colours.get("city") or mix((70, 78, 96), (128, 118, 116), chance("tone"))
    pen.fill(f"{-half} 20 {-half} {-high} {half} {-high} {half} 20", wall)
    pen.fill(f"{half / 3} 20 {half / 3} {-high} {half} {-high} {half} 20", BLACK, 0.25)
    for row, column in zip(*(chance.normal("lit", 12, 7) < (0.1 if night else 1)).nonzero(), strict=True):
        x, y = 20 * column + 8 - half, 24 * row + 12 - high
        if x < half - 12 and y < 0:
            window = LAMP if night else mix(wall, (190, 215, 235), 0.5)
            pen.fill(f"{x} {y} {x + 9} {y} {x + 9} {y + 12} {x} {y + 12}", window)


def tree(pen: Pen, chance: Chance, asked: Asked) -> None:
    green = asked.colours.get("tree") or mix((34, 74, 48), (22, 56, 52), chance("green"))
    pen.line("0 0 0 -20", 6, _WOOD)
    for i in range(6):
        low, wide = -10 - 14 * i, 27 - 4 * i
        branch = f"{-wide} {low + 3} {-wide / 2} {low - 2} 0 {low + 2}"
        pen.fill(f"{branch} {wide / 2} {low - 2} {wide} {low + 3} 0 {low - 30}", mix(green, BLACK, 0.2 - 0.03 * i))
        pen.fill(f"{branch} 0 {low - 30}", WHITE, 0.08)


def flower(pen: Pen, chance: Chance, asked: Asked) -> None:
    petal, lean = asked.colours.get("flower") or _one(chance, _PETALS), chance("lean", -12, 12)
    pen.line(f"~0 0 {lean * 0.3} -40 {lean} -72", 3.5, (58, 118, 50))
    pen.fill("=~0 -25 14 -40 28 -42 15 -30 0 -25", (70, 138, 58))
    for count, far, big, bright in ((8, 16, 11, 0.2), (6, 9, 9, 0.5)):
        for i in range(count):
            turn = (i + far) * math.tau / count
            tone = mix(mix(petal, BLACK, 0.25), mix(petal, WHITE, 0.3), bright + i % 3 / 6)
            pen.oval(f"{lean + far * math.cos(turn)} {far * math.sin(turn) - 78} {big} {big}", tone)
    pen.oval(f"{lean} -78 5 5", mix((240, 190, 60), petal, 0.35))


def cat(pen: Pen, chance: Chance, asked: Asked) -> None:
    coat = asked.colours.get("cat") or _one(chance, _COATS)
    dark, pale = mix(coat, BLACK, 0.45), mix(coat, WHITE, 0.6)
    pen.line("~20 -8 46 -12 50 -34 40 -52", 9, dark)
    pen.fill("|0 -54 14 -52 27 -28 30 1", coat)
    pen.oval("=10 -4 9.5 5", pale)
    pen.fill("=9 -86 27 -103 27 -72", coat)
    pen.fill("=14 -87 25 -97 25 -78", (232, 160, 160))
    pen.oval("0 -70 28.5 23.5", coat)
    for stripe in ("=7 -91 5.6 -83", "=27.5 -69 20 -68", "=27.5 -63 20 -63", "=26 -30 17 -32", "=26 -20 17 -22"):
        pen.line(stripe, 2.2, dark, 0.7)
    pen.oval("=6.5 -59.5 8.5 6.5", pale)
    for pupil, tone in (("6.8 7.2", BLACK), ("6 6.4", mix((120, 190, 70), LAMP, chance("eyes"))), ("2.2 5.6", BLACK)):
        pen.oval(f"=12 -72 {pupil}", tone)
    pen.oval("=10.5 -74.5 1.7 1.7", WHITE)
    pen.fill("|0 -65.5 4 -64.5 0 -60.5", (226, 120, 126))
    pen.line("=~0 -60.5 2.5 -56.5 7.5 -57.5", 1.2, BLACK)
    for whisker in ("=9 -60 34 -65", "=9 -58 34 -59", "=9 -56 34 -53"):
        pen.line(whisker, 0.6, WHITE, 0.8)


def face(pen: Pen, chance: Chance, asked: Asked) -> None:
    """Front on, with the light and dark where a detector looks for them: it sees brows to chin, 100 units."""
    skin, hair, eyes, shirt = (asked.colours.get(part) or _one(chance.child(part), _FACE[part]) for part in _FACE)
    hair = (204, 202, 204) if "old" in asked.mood else hair
    man = "man" in asked.colours
    dark, lips = mix(skin, (96, 40, 30), 0.42), mix((196, 70, 74), skin, 0.2)
    if not man:
        pen.fill(f"|0 -138 41 -126 59 -81 60 -27 53 {chance('long', 10, 46)}", mix(hair, BLACK, 0.45))
    pen.fill("|0 40 33 33 103 54 133 119 160 279", shirt)
    pen.fill("|0 -14 23 -14 23 26 31 37 0 54", mix(skin, dark, 0.35))
    pen.soft("0 13 33 23", mix(dark, BLACK, 0.3), 0.8)
    pen.fill("|0 -121 33 -111 48 -77 47 -41 35 -9 13 10 0 13", skin)
    pen.soft("-3 -87 37 27", WHITE, 0.3)
    pen.soft("=41 -35 17 50", dark, 0.45)
    pen.soft("=24 -38 17 12", WHITE, 0.25)
    pen.soft("=21.3 -65 23 17", dark, 0.85)
    pen.fill("=~10 -60.7 17.3 -66.3 25.3 -66.3 32.7 -60.7 21.3 -56 10 -60.7", (240, 236, 232))
    for around, tone in (("5.3 5.3", mix(eyes, BLACK, 0.5)), ("4.3 4.3", eyes), ("2.7 2.8", BLACK)):
        pen.oval(f"=21.3 -61.5 {around}", tone)
    pen.oval("=19.5 -63.5 1.3 1.3", WHITE)
    pen.line("=~9 -60 16.7 -66.7 26 -66.7 33.7 -60", 4, BLACK)
    pen.line("=~9 -76 24 -81 36 -75", 5 if man else 3.5, mix(hair, BLACK, 0.6))
    for around, tone, alpha in (("6 -47 8 23", dark, 0.6), ("-1 -49 5 23", WHITE, 0.4), ("0 -32 13 7", dark, 0.7)):
        pen.soft(around, tone, alpha)
    pen.oval("=4.3 -33 2.3 1.3", mix(dark, BLACK, 0.55))
    pen.soft("0 -6 17 5", dark, 0.6)
    pen.fill("|0 -18.7 5.3 -20 18 -18.7 8 -8.7 0 -7.3", lips)
    pen.line(f"~-20 -21 -10 -16 0 {chance('smile', -15, -11)} 10 -16 20 -21", 1.8, mix(lips, BLACK, 0.65))
    fringe = "49 -67 44 -87 27 -101 0 -98" if man else "57 -21 47 -34 44 -74 27 -95 0 -113"
    pen.fill(f"|0 -141 37 -129 53 -91 {fringe}", hair)
    for i in range(12):
        pen.line(f"~{2 * i - 11} -137 {7 * i - 38} -124 {8 * i - 44} -100", 2, BLACK if i % 2 else WHITE, 0.15)


def _one(chance: Chance, colours: list[Colour]) -> Colour:
    return colours[int(chance("colour") * len(colours) * 0.9999)]


class Kind(NamedTuple):
    draw: Callable[[Pen, Chance, Asked], None]
    several: int  # how many a plural means
    size: tuple[float, float]  # far away and close by, in short sides of the picture
    foot: tuple[float, float]  # the same: how far under the horizon, in heights of the picture
    spread: float = 0.64  # over how much of the width


KINDS = {
    "castle": Kind(castle, 2, (0.38, 0.5), (0.06, 0.12)),
    "lighthouse": Kind(lighthouse, 2, (0.4, 0.55), (0.05, 0.12)),
    "tree": Kind(tree, 6, (0.3, 0.5), (0.1, 0.3)),
    "boat": Kind(boat, 3, (0.16, 0.3), (0.08, 0.24)),
    "flower": Kind(flower, 5, (0.28, 0.42), (0.24, 0.4)),
    "cat": Kind(cat, 2, (0.52, 0.66), (0.34, 0.41)),
    "face": Kind(face, 1, (0.34, 0.4), (0.06, 0.12), 0.12),
}
# what stands in a place anyway: along its horizon where that was asked for, and all over it
_SHORE, _GROVE = Kind(tree, 16, (0.06, 0.12), (0, 0.008), 1.1), Kind(tree, 7, (0.08, 0.2), (0.02, 0.1), 1.1)
HORIZON = {"city": Kind(tower, 26, (0.1, 0.12), (0, 0.02), 1.1), "mountain": _SHORE, "forest": _SHORE}
GROWTH = {
    "forest": {"tree": Kind(tree, 32, (0.22, 0.75), (0, 0.36), 1.1)},
    "meadow": {"tree": _GROVE, "flower": Kind(flower, 40, (0.015, 0.13), (0.04, 0.44), 1.1)},
}
