"""The things a prompt can put into a picture. Each stands on (0, 0) and is about 100 units high."""

import math
from collections.abc import Callable
from typing import NamedTuple

from .canvas import BLACK, WHITE, Pen, mix
from .chance import Chance
from .words import Colour

LAMP = (255, 222, 130)


def box(left: float, top: float, right: float, bottom: float) -> str:
    return f"{left} {bottom} {left} {top} {right} {top} {right} {bottom}"


def lighthouse(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    pen.fill("-56 4 -46 -3 -34 -5 -20 -12 2 -11 16 -13 28 -6 44 -5 56 4", (92, 86, 82))
    pen.fill("-8 4 2 -8 16 -10 28 -3 44 -2 52 4", (66, 62, 64), 0.7)
    for i in range(5):
        top, half = 12.4 * i - 72, 5.5 + i
        band = f"{-half} {top} {half} {top} {half + 1} {top + 12.4} {-half - 1} {top + 12.4}"
        pen.fill(band, (colour or (196, 48, 44)) if i % 2 else (240, 236, 226))
    pen.fill("1 -72 5.5 -72 10.5 -10 2 -10", BLACK, 0.22)
    pen.fill(box(-8.5, -75, 8.5, -71), (50, 48, 54))
    pen.fill(box(-4.5, -85, 4.5, -75), LAMP, glow=True)
    pen.fill("~-7.5 -84 -5 -90 0 -93 5 -90 7.5 -84", (70, 40, 44))
    pen.line("0 -92 0 -100", 1.2, BLACK)
    pen.soft("0 -80 22 14", LAMP, 0.6, glow=True)
    if max(pen.light) < 0.85:
        pen.fill("0 -81 0 -79 250 -55 250 -105", LAMP, 0.16, twin=True, glow=True)


def boat(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    sail = colour or mix((250, 244, 230), (226, 90, 60), chance("sail") ** 3)
    pen.soft("0 5 55 9", BLACK, 0.5)
    pen.line("0 -10 0 -100", 2, (80, 56, 40))
    pen.fill("~2 -97 10 -88 30 -50 36 -20 2 -17", sail)
    pen.fill("~-2 -88 -20 -50 -36 -20 -2 -17", mix(sail, BLACK, 0.14))
    pen.fill("-46 -12 48 -15 42 -4 30 3 -30 3", (124, 66, 42))
    pen.fill("-46 -12 48 -15 46 -10 -44 -8", (236, 222, 196))
    for i in range(5):
        pen.line(f"{5 * i - 30} {5 * i + 7} {32 - 6 * i} {5 * i + 7}", 1.2, sail, 0.45 - 0.07 * i)


def house(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    wall = colour or mix((226, 206, 172), (164, 110, 74), chance("wall"))
    pen.soft("0 0 80 12", BLACK, 0.5)
    for i in range(6):
        pen.soft(f"{29 + i * i} {-102 - 10 * i} {5 + 3 * i} {5 + 2.5 * i}", (235, 235, 240), 0.5)  # smoke
    pen.fill(box(23, -95, 34, -50), (120, 72, 60))
    pen.fill(box(-50, -48, 50, 0), wall)
    pen.fill(box(10, -48, 50, 0), BLACK, 0.16)
    pen.fill("-60 -44 -34 -86 38 -86 60 -44", mix((150, 62, 44), (78, 60, 62), chance("roof")))
    pen.fill("10 -44 16 -86 38 -86 60 -44", BLACK, 0.2)
    pen.fill(box(-9, -30, 9, 0), (86, 50, 36))
    pen.fill(box(22, -36, 40, -17), LAMP, twin=True, glow=True)
    pen.line("31 -17 31 -36 31 -26 22 -26 40 -26", 1.5, (90, 60, 40), twin=True)
    if max(pen.light) < 0.9:
        pen.soft("31 -26 30 30", LAMP, 0.5, twin=True, glow=True)


def castle(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    stone = colour or mix((176, 168, 160), (150, 130, 120), chance("stone"))
    roof = mix((120, 50, 60), (60, 70, 120), chance("roof"))
    pen.soft("0 0 95 14", BLACK, 0.5)
    for x, half, low, high in (
        (-14, 9, 55, 70),
        (15, 7, 48, 60),
        (0, 50, 34, 34),
        (-46, 8.5, 42, 50),
        (46, 8.5, 38, 50),
    ):
        high = round(chance(x, low, high))
        pen.fill(box(x - half, -high, x + half, 0), stone)
        for i in range(round(half / 3) + 1):
            left = x - half + 6 * i * half / (half + 1.5)
            pen.fill(box(left, -high - 4, left + 3, -high), stone)
        if half == 50:
            continue
        tip = -high - half * 3.4
        pen.fill(box(x + half * 0.2, -high, x + half, 0), BLACK, 0.25)
        pen.fill(f"{x - half * 1.25} {-high - 2} {x} {tip} {x + half * 1.25} {-high - 2}", roof)
        pen.fill(f"{x} {-high - 2} {x} {tip} {x + half * 1.25} {-high - 2}", BLACK, 0.25)
        pen.line(f"{x} {tip} {x} {tip - 9}", 0.8, BLACK)
        pen.fill(f"{x} {tip - 9} {x + 9} {tip - 6} {x} {tip - 3}", (220, 60, 60))
        for part in (0.52, 0.82):
            pen.oval(f"{x - half * 0.2} {-high * part} 1.6 3.2", LAMP, glow=True)
    for i in range(24):
        x, y = chance(("brick", i), -36, 32), chance(("row", i), -30, -3)
        pen.line(f"{x} {y} {x + 5} {y}", 1, BLACK, 0.16)
    pen.fill("-9 0 -9 -14 -6 -20 0 -24 6 -20 9 -14 9 0", (48, 34, 32))


def tree(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    green = colour or mix((34, 74, 48), (22, 56, 52), chance("green"))
    pen.fill(box(-3, -20, 3, 0), (70, 48, 36))
    for i in range(6):
        low, wide, lean = -10.0 - i * 14, 27 - i * 3.8, chance(i, -3, 3)
        left = f"{-wide} {low + 3 + lean} {-wide / 2} {low - 2} 0"
        pen.fill(f"{left} {low + 2} {wide / 2} {low - 2} {wide} {low + 3 - lean} 0 {low - 30}",
                 mix(green, BLACK, 0.2 - 0.03 * i))  # fmt: skip
        pen.fill(f"{left} {low - 30}", WHITE, 0.08)


def balloon(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    main = colour or chance.one("colour", [(222, 70, 54), (50, 150, 140), (240, 170, 50), (110, 80, 180)])
    for i, wide in enumerate((34, 27, 19, 11, 4)):
        tone = (250, 240, 220) if i % 2 else main
        pen.oval(f"0 -66 {wide} 34", tone)
        pen.fill(f"{-wide * 0.92} -53 {wide * 0.92} -53 {wide / 4} -20 {-wide / 4} -20", tone)
    pen.soft("-10 -80 24 24", WHITE, 0.6)
    pen.soft("26 -55 20 40", BLACK, 0.35)
    pen.line("7 -20 5 -10", 0.8, (70, 50, 40), twin=True)
    pen.fill("-6.5 -10 6.5 -10 5.5 0 -5.5 0", (140, 92, 52))


def bird(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    flap = chance("flap", 15, 50)
    pen.line(f"~0 0 30 {-flap} 75 {-flap / 2}", 10, colour or (50, 48, 56), twin=True)


def flower(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    petal = colour or chance.one("colour", [(244, 238, 240), (250, 190, 50), (240, 120, 170), (150, 90, 210)])
    lean = chance("lean", -12, 12)
    pen.line(f"~0 0 {lean * 0.3} -40 {lean} -72", 3.5, (58, 118, 50))
    pen.fill("~0 -25 14 -40 28 -42 15 -30 0 -25", (70, 138, 58), twin=True)
    for count, far, big, bright in ((8, 16, 11, 0.2), (7, 10, 9, 0.4), (5, 5, 7, 0.7)):
        for i in range(count):
            turn = (i + far) * math.tau / count
            tone = mix(mix(petal, BLACK, 0.25), mix(petal, WHITE, 0.3), bright + i % 3 / 6)
            pen.oval(f"{lean + far * math.cos(turn)} {-78 + far * math.sin(turn)} {big} {big}", tone)
    pen.oval(f"{lean} -78 5 5", mix((240, 190, 60), petal, 0.35))


def cat(pen: Pen, chance: Chance, colour: Colour | None, dog: bool = False) -> None:
    usual = [(196, 146, 92), (120, 84, 58), (232, 212, 180)] if dog else [(232, 150, 70), (120, 116, 122), (70, 62, 64)]
    coat = colour or chance.one("coat", usual)
    dark, pale = mix(coat, BLACK, 0.45), mix(coat, WHITE, 0.6)
    iris = (96, 62, 40) if dog else mix((120, 190, 70), (240, 190, 60), chance("iris"))
    pen.soft("0 0 60 10", BLACK, 0.6)
    for width, tone in ((9, dark), (6, coat)):
        pen.line("~20 -8 46 -12 50 -34 40 -52", width, tone)
    pen.fill("~-30 1 -27 -28 -14 -52 14 -52 27 -28 30 1 -30 1", coat)
    pen.soft("20 -25 20 34", dark, 0.7)
    pen.soft("0 -30 16 26", pale, 0.95)
    pen.oval("10 -4 9.5 5", pale, twin=True)
    pen.line("3 -4 3.5 -26", 1, dark, twin=True)
    if not dog:
        pen.fill("9 -86 27 -103 27 -72", coat, twin=True)
        pen.fill("14 -87 25 -97 25 -78", (232, 160, 160), twin=True)
    pen.oval("0 -70 28.5 23.5", coat)
    if dog:
        pen.fill("~14 -90 28 -88 37 -62 30 -52 22 -66 14 -90", dark, twin=True)
    else:
        for path in ("7 -91 5.6 -83", "27.5 -69 20 -68", "27.5 -63 20 -63", "26 -30 17 -32", "26 -20 17 -22"):
            pen.line(path, 2.2, dark, 0.7, twin=True)
    pen.soft("-10 -84 17 12", WHITE, 0.35)
    pen.oval("6.5 -59.5 8.5 6.5", pale, twin=True)
    pen.oval("12 -72 6.8 7.2", BLACK, twin=True)
    pen.oval("12 -72 6 6.4", iris, twin=True)
    pen.oval("12 -72 4.2 4.6" if dog else "12 -72 2.2 5.6", BLACK, twin=True)
    for x in (-12, 12):
        pen.oval(f"{x - 2.2} -74.5 1.7 1.7", WHITE)
    pen.fill("~-4 -64.5 0 -65.5 4 -64.5 0 -60.5 -4 -64.5", (60, 40, 44) if dog else (226, 120, 126))
    pen.line("~0 -60.5 2.5 -56.5 7.5 -57.5", 1.2, BLACK, twin=True)
    if dog:
        pen.fill("~-3 -56.5 -3.5 -50 0 -48 3.5 -50 3 -56.5", (232, 110, 120))
    else:
        for path in ("9 -60 34 -65", "9 -58 34 -59", "9 -56 34 -53"):
            pen.line(path, 0.6, WHITE, 0.8, twin=True)


def dog(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    cat(pen, chance, colour, dog=True)


class Kind(NamedTuple):
    draw: Callable[[Pen, Chance, Colour | None], None]
    size: tuple[float, float]  # in short sides of the picture
    below: tuple[float, float]  # its foot under the horizon (negative: above), in heights of the picture
    several: int = 3  # how many a plural means


KINDS = {
    "castle": Kind(castle, (0.38, 0.5), (0.06, 0.12), 2),
    "house": Kind(house, (0.16, 0.26), (0.08, 0.2), 4),
    "lighthouse": Kind(lighthouse, (0.4, 0.55), (0.05, 0.12), 2),
    "tree": Kind(tree, (0.3, 0.5), (0.1, 0.3), 6),
    "boat": Kind(boat, (0.16, 0.3), (0.08, 0.24)),
    "balloon": Kind(balloon, (0.18, 0.36), (-0.3, -0.08), 4),
    "bird": Kind(bird, (0.03, 0.06), (-0.4, -0.15), 7),
    "flower": Kind(flower, (0.28, 0.42), (0.3, 0.44), 7),
    "dog": Kind(dog, (0.52, 0.66), (0.34, 0.41), 2),
    "cat": Kind(cat, (0.52, 0.66), (0.34, 0.41), 2),
}
