"""The things a prompt can put into a picture. Each stands on (0, 0) and is about 1 unit high."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from .chance import Chance
from .easel import WHITE, Pen, curve, mix
from .words import Colour

BLACK = (20, 18, 24)


def lighthouse(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    stripe = colour or (196, 48, 44)
    rock = [(chance(f"r{i}", -0.03, 0.03) + i * 0.09 - 0.5, -0.13 + 0.9 * (i * 0.09 - 0.5) ** 2 * 0.55
             + chance(f"q{i}", -0.03, 0.03)) for i in range(12)]  # fmt: skip
    pen.poly([(-0.56, 0.03), *rock, (0.56, 0.03)], (92, 86, 82))
    pen.poly([(-0.1, 0.03), *[(x * 0.9 + 0.05, y + 0.03) for x, y in rock[5:]], (0.5, 0.03)], (66, 62, 64), 0.7)

    def side(y: float) -> float:
        return 0.055 + 0.05 * (y + 0.72) / 0.62

    for i in range(5):
        top, low = -0.72 + i * 0.124, -0.72 + (i + 1) * 0.124
        band = [(-side(top), top), (side(top), top), (side(low), low), (-side(low), low)]
        pen.poly(band, stripe if i % 2 else (240, 236, 226))
        pen.poly([(side(top) * 0.2, top), (side(top), top), (side(low), low), (side(low) * 0.2, low)], BLACK, 0.22)
    pen.poly([(-0.085, -0.75), (0.085, -0.75), (0.085, -0.71), (-0.085, -0.71)], (50, 48, 54))
    pen.poly([(-0.045, -0.85), (0.045, -0.85), (0.045, -0.75), (-0.045, -0.75)], (255, 236, 150), glow=True)
    pen.poly(curve([(-0.075, -0.84), (-0.05, -0.9), (0, -0.93), (0.05, -0.9), (0.075, -0.84)]), (70, 40, 44))
    pen.line([(0, -0.92), (0, -1)], 0.012, BLACK)
    pen.soft(0, -0.8, 0.22, 0.14, (255, 238, 160), 0.6, glow=True)
    if max(pen.light) < 0.8:
        pen.poly([(0, -0.82), (0, -0.78), (2.5, -0.5), (2.5, -0.95)], (255, 240, 180), 0.16, glow=True)
        pen.poly([(0, -0.82), (0, -0.78), (-2.5, -0.62), (-2.5, -1.05)], (255, 240, 180), 0.16, glow=True)


def boat(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    sail = colour or mix((250, 244, 230), (226, 90, 60), chance("sail") ** 3)
    pen.soft(0, 0.05, 0.55, 0.09, BLACK, 0.5)
    pen.line([(0, -0.1), (0, -1)], 0.02, (80, 56, 40))
    pen.poly([(0.02, -0.97), *curve([(0.05, -0.95), (0.3, -0.5), (0.36, -0.2)]), (0.02, -0.17)], sail)
    pen.poly([(0.02, -0.5), *curve([(0.27, -0.5), (0.33, -0.3), (0.36, -0.2)]), (0.02, -0.17)], BLACK, 0.1)
    pen.poly([(-0.02, -0.88), *curve([(-0.03, -0.88), (-0.2, -0.5), (-0.36, -0.2)]), (-0.02, -0.17)],
             mix(sail, BLACK, 0.14))  # fmt: skip
    pen.poly(
        [(-0.46, -0.12), (0.48, -0.15), *curve([(0.47, -0.14), (0.36, 0), (0.3, 0.03)]), (-0.3, 0.03)],
        (124, 66, 42),
    )
    pen.poly([(-0.46, -0.12), (0.48, -0.15), (0.46, -0.1), (-0.44, -0.08)], (236, 222, 196))
    for i in range(5):
        pen.line(
            [(-0.3 + 0.05 * i, 0.07 + 0.05 * i), (0.32 - 0.06 * i, 0.07 + 0.05 * i)],
            0.012,
            sail,
            0.45 - 0.07 * i,
        )


def house(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    wall = colour or mix((226, 206, 172), (164, 110, 74), chance("wall"))
    roof = mix((150, 62, 44), (78, 60, 62), chance("roof"))
    window = (255, 208, 110)
    pen.soft(0, 0, 0.8, 0.12, BLACK, 0.5)
    for i in range(6):
        pen.soft(
            0.29 + 0.03 * i * i * 0.3,
            -1.02 - 0.1 * i,
            0.05 + 0.03 * i,
            0.05 + 0.025 * i,
            (235, 235, 240),
            0.5,
        )
    pen.poly([(0.23, -0.95), (0.34, -0.95), (0.34, -0.5), (0.23, -0.5)], (120, 72, 60))
    pen.poly([(-0.5, 0), (-0.5, -0.48), (0.5, -0.48), (0.5, 0)], wall)
    pen.poly([(0.1, 0), (0.1, -0.48), (0.5, -0.48), (0.5, 0)], BLACK, 0.16)
    pen.poly([(-0.6, -0.44), (-0.34, -0.86), (0.38, -0.86), (0.6, -0.44)], roof)
    pen.poly([(0.1, -0.44), (0.16, -0.86), (0.38, -0.86), (0.6, -0.44)], BLACK, 0.2)
    for i in range(5):
        pen.line([(-0.58 + 0.05 * i, -0.48 - 0.08 * i), (0.58 - 0.05 * i, -0.48 - 0.08 * i)], 0.008, BLACK, 0.25)
    pen.poly([(-0.09, 0), (-0.09, -0.3), (0.09, -0.3), (0.09, 0)], (86, 50, 36))
    for x in (-0.32, 0.3):
        pen.poly([(x - 0.09, -0.17), (x - 0.09, -0.36), (x + 0.09, -0.36), (x + 0.09, -0.17)], window, glow=True)
        pen.line([(x, -0.17), (x, -0.36)], 0.015, (90, 60, 40))
        pen.line([(x - 0.09, -0.265), (x + 0.09, -0.265)], 0.015, (90, 60, 40))
        if max(pen.light) < 0.9:
            pen.soft(x, -0.26, 0.3, 0.3, window, 0.5, glow=True)


def castle(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    stone = colour or mix((176, 168, 160), (150, 130, 120), chance("stone"))
    roof = mix((120, 50, 60), (60, 70, 120), chance("roof"))
    pen.soft(0, 0, 0.95, 0.14, BLACK, 0.5)

    def tower(x: float, half: float, high: float) -> None:
        pen.poly([(x - half, 0), (x - half, -high), (x + half, -high), (x + half, 0)], stone)
        pen.poly([(x + half * 0.2, 0), (x + half * 0.2, -high), (x + half, -high), (x + half, 0)], BLACK, 0.25)
        for i in range(3):
            at = x - half + i * half * 0.8
            pen.poly(
                [
                    (at, -high),
                    (at, -high - 0.035),
                    (at + half * 0.4, -high - 0.035),
                    (at + half * 0.4, -high),
                ],
                stone,
            )
        pen.poly([(x - half * 1.25, -high - 0.02), (x, -high - half * 3.4), (x + half * 1.25, -high - 0.02)], roof)
        pen.poly([(x, -high - 0.02), (x, -high - half * 3.4), (x + half * 1.25, -high - 0.02)], BLACK, 0.25)
        top = -high - half * 3.4
        pen.poly([(x, top - 0.09), (x + 0.09, top - 0.06), (x, top - 0.03)], (220, 60, 60))
        pen.line([(x, top), (x, top - 0.09)], 0.008, BLACK)
        for k in range(2):
            pen.oval(
                x - half * 0.2,
                -high * (0.82 - 0.3 * k),
                0.016,
                0.032,
                (255, 214, 120) if max(pen.light) < 0.9 else BLACK,
                glow=True,
            )

    tower(-0.14, 0.09, chance("a", 0.55, 0.7))
    tower(0.15, 0.07, chance("b", 0.48, 0.6))
    pen.poly([(-0.5, 0), (-0.5, -0.34), (0.5, -0.34), (0.5, 0)], mix(stone, BLACK, 0.08))
    for i in range(13):
        x = -0.5 + i * 0.08
        pen.poly([(x, -0.34), (x, -0.38), (x + 0.04, -0.38), (x + 0.04, -0.34)], mix(stone, BLACK, 0.08))
    for i in range(24):
        x, y = chance(f"bx{i}", -0.46, 0.42), chance(f"by{i}", -0.3, -0.03)
        pen.line([(x, y), (x + 0.05, y)], 0.01, BLACK, 0.16)
    tower(-0.46, 0.085, chance("c", 0.42, 0.5))
    tower(0.46, 0.085, chance("d", 0.38, 0.5))
    pen.poly(
        [(-0.09, 0), (-0.09, -0.14), *curve([(-0.09, -0.14), (0, -0.24), (0.09, -0.14)]), (0.09, 0)],
        (48, 34, 32),
    )


def fir(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    green = colour or mix((34, 74, 48), (22, 56, 52), chance("green"))
    pen.poly([(-0.03, 0), (-0.03, -0.2), (0.03, -0.2), (0.03, 0)], (70, 48, 36))
    for i in range(6):
        low, wide = -0.1 - i * 0.14, 0.27 - i * 0.038
        lean = chance(f"l{i}", -0.03, 0.03)
        pen.poly([(-wide, low + 0.03 + lean), (-wide * 0.5, low - 0.02), (0, low + 0.02), (wide * 0.5, low - 0.02),
                  (wide, low + 0.03 - lean), (0, low - 0.3)], mix(green, BLACK, 0.2 - 0.03 * i))  # fmt: skip
        pen.poly([(-wide, low + 0.03 + lean), (-wide * 0.4, low - 0.02), (0, low - 0.3)], WHITE, 0.08)


def tree(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    leaf = colour or mix((70, 130, 50), (110, 150, 60), chance("leaf"))
    pen.soft(0, 0, 0.4, 0.07, BLACK, 0.5)
    pen.poly([(-0.06, 0.01), (-0.03, -0.5), (0.03, -0.5), (0.07, 0.01)], (92, 66, 48))
    for i in range(42):
        turn, far = i * 2.4, math.sqrt(i / 42)
        x, y = 0.32 * far * math.cos(turn), -0.66 + 0.28 * far * math.sin(turn)
        shade = 0.5 * (y + 0.95) + 0.25 * x + chance(f"s{i}", -0.12, 0.12)
        pen.oval(x, y, 0.09, 0.075, mix(mix(leaf, WHITE, 0.22), mix(leaf, BLACK, 0.6), min(max(shade * 1.6, 0), 1)))


def balloon(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    main = colour or [(222, 70, 54), (50, 150, 140), (240, 170, 50), (110, 80, 180)][int(chance("c", 0, 3.99))]
    for i, wide in enumerate((0.34, 0.27, 0.19, 0.11, 0.04)):
        tone = main if i % 2 == 0 else (250, 240, 220)
        pen.oval(0, -0.66, wide, 0.34, tone)
        pen.poly([(-wide * 0.92, -0.53), (wide * 0.92, -0.53), (wide * 0.25, -0.2), (-wide * 0.25, -0.2)], tone)
    pen.soft(-0.1, -0.8, 0.24, 0.24, WHITE, 0.6)
    pen.soft(0.26, -0.55, 0.2, 0.4, BLACK, 0.35)
    for x in (-0.07, 0.07):
        pen.line([(x, -0.2), (x * 0.8, -0.1)], 0.008, (70, 50, 40))
    pen.poly([(-0.065, -0.1), (0.065, -0.1), (0.055, 0), (-0.055, 0)], (140, 92, 52))


def bird(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    flap = chance("flap", 0.15, 0.5)
    for side in (-1, 1):
        pen.line(curve([(0, 0), (0.3 * side, -flap), (0.75 * side, -flap * 0.5)], 6), 0.1, colour or (50, 48, 56))


def flower(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    petal = colour or [(216, 40, 60), (250, 190, 50), (240, 120, 170), (150, 90, 210)][int(chance("c", 0, 3.99))]
    lean = chance("lean", -0.12, 0.12)
    pen.line(curve([(0, 0), (lean * 0.3, -0.4), (lean, -0.72)]), 0.035, (58, 118, 50))
    for side in (-1, 1):
        pen.poly(curve([(lean * 0.2, -0.25), (side * 0.14, -0.4), (side * 0.28, -0.42), (side * 0.15, -0.3),
                        (lean * 0.2, -0.25)]), (70, 138, 58))  # fmt: skip
    for ring, (count, far, big) in enumerate(((8, 0.16, 0.11), (7, 0.1, 0.09), (5, 0.05, 0.07))):
        for i in range(count):
            turn = i * 2 * math.pi / count + ring * 0.5
            x, y = lean + far * math.cos(turn), -0.78 + far * math.sin(turn)
            pen.oval(
                x,
                y,
                big,
                big,
                mix(mix(petal, BLACK, 0.25), mix(petal, WHITE, 0.25), (i % 3) / 3 + ring * 0.15),
            )
    pen.oval(lean, -0.78, 0.05, 0.05, mix((240, 190, 60), petal, 0.35))


def fruit(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    skin = colour or [(206, 36, 34), (238, 146, 30), (150, 180, 50)][int(chance("c", 0, 2.99))]
    pen.soft(0.15, 0, 0.8, 0.16, BLACK, 0.7)
    pen.oval(0, -0.45, 0.47, 0.45, mix(skin, BLACK, 0.3))
    for i in range(8):
        pen.oval(
            -0.03 - 0.012 * i,
            -0.48 - 0.012 * i,
            0.42 - 0.035 * i,
            0.4 - 0.035 * i,
            mix(skin, WHITE, 0.03 * i),
        )
    pen.soft(-0.2, -0.68, 0.2, 0.17, WHITE, 0.9)
    pen.soft(0, -0.85, 0.2, 0.08, BLACK, 0.6)
    pen.line(curve([(0, -0.82), (0.02, -0.95), (0.07, -1.02)]), 0.045, (80, 56, 36))
    pen.poly(curve([(0.05, -0.97), (0.2, -1.06), (0.32, -0.98), (0.18, -0.93), (0.05, -0.97)]), (86, 140, 60))


def cat(pen: Pen, chance: Chance, colour: Colour | None, dog: bool = False) -> None:
    usual = (
        [(232, 150, 70), (120, 116, 122), (70, 62, 64), (236, 222, 200)]
        if not dog
        else [(196, 146, 92), (120, 84, 58), (232, 212, 180)]
    )
    coat = colour or usual[int(chance("coat") * 0.999 * len(usual))]
    dark, pale = mix(coat, BLACK, 0.45), mix(coat, WHITE, 0.6)
    iris = mix((120, 190, 70), (240, 190, 60), chance("iris")) if not dog else (96, 62, 40)
    pen.soft(0, 0, 0.6, 0.1, BLACK, 0.6)
    tail = curve([(0.2, -0.08), (0.46, -0.12), (0.5, -0.34), (0.4, -0.46 - 0.1 * chance("tail"))])
    pen.line(tail, 0.09, dark)
    pen.line(tail, 0.06, coat)
    pen.poly(
        curve(
            [
                (-0.3, 0.01),
                (-0.27, -0.28),
                (-0.14, -0.52),
                (0.14, -0.52),
                (0.27, -0.28),
                (0.3, 0.01),
                (-0.3, 0.01),
            ]
        ),
        coat,
    )
    pen.soft(0.2, -0.25, 0.2, 0.34, dark, 0.7)
    pen.soft(0, -0.3, 0.16, 0.26, pale, 0.95)
    for side in (-1, 1):
        pen.oval(side * 0.1, -0.04, 0.095, 0.05, pale)
        pen.line([(side * 0.03, -0.04), (side * 0.035, -0.26)], 0.01, dark)
        for k in (-1, 1):
            pen.line([(side * 0.1 + 0.03 * k, -0.045), (side * 0.1 + 0.03 * k, -0.01)], 0.008, dark)
        ear = [(0.09, -0.86), (0.27, -1.03), (0.27, -0.72)]
        if dog:
            ear = curve([(0.16, -0.88), (0.3, -0.86), (0.36, -0.62), (0.3, -0.54), (0.22, -0.66), (0.16, -0.88)])
        else:
            pen.poly([(side * x, y) for x, y in ear], coat)
            ear = [(0.14, -0.87), (0.25, -0.97), (0.25, -0.78)]
        ears = [(side * x, y) for x, y in ear]
        if not dog:
            pen.poly(ears, (232, 160, 160))
    pen.oval(0, -0.7, 0.285, 0.235, coat)
    if dog:
        for side in (-1, 1):
            pen.poly(
                curve(
                    [
                        (side * x, y)
                        for x, y in (
                            (0.14, -0.9),
                            (0.28, -0.88),
                            (0.37, -0.62),
                            (0.3, -0.52),
                            (0.22, -0.66),
                            (0.14, -0.9),
                        )
                    ]
                ),
                dark,
            )
    else:
        for x in (-0.07, 0, 0.07):
            pen.line([(x, -0.925 + abs(x) * 0.2), (x * 0.8, -0.83)], 0.022, dark, 0.8)
        for side in (-1, 1):
            for k in range(2):
                pen.line([(side * 0.275, -0.69 + 0.06 * k), (side * 0.2, -0.68 + 0.05 * k)], 0.02, dark, 0.8)
                pen.line([(side * 0.26, -0.3 + 0.1 * k), (side * 0.17, -0.32 + 0.1 * k)], 0.022, dark, 0.6)
    pen.soft(-0.1, -0.84, 0.17, 0.12, WHITE, 0.35)
    for side in (-1, 1):
        pen.oval(side * 0.065, -0.595, 0.085, 0.065, pale)
        pen.oval(side * 0.12, -0.72, 0.068, 0.072, BLACK)
        pen.oval(side * 0.12, -0.72, 0.06, 0.064, iris)
        pen.oval(side * 0.12, -0.72, 0.022 if not dog else 0.042, 0.056 if not dog else 0.046, BLACK)
        pen.oval(side * 0.12 - 0.022, -0.745, 0.017, 0.017, WHITE)
        if not dog:
            for k in range(3):
                pen.line([(side * 0.09, -0.6 + 0.018 * k), (side * 0.34, -0.65 + 0.06 * k)], 0.006, WHITE, 0.8)
    pen.poly(
        curve([(-0.04, -0.645), (0, -0.655), (0.04, -0.645), (0, -0.605), (-0.04, -0.645)]),
        (60, 40, 44) if dog else (226, 120, 126),
    )
    for side in (-1, 1):
        pen.line(curve([(0, -0.605), (side * 0.025, -0.565), (side * 0.075, -0.575)]), 0.012, BLACK)
    if dog:
        pen.poly(
            curve([(-0.03, -0.565), (-0.035, -0.5), (0, -0.48), (0.035, -0.5), (0.03, -0.565)]),
            (232, 110, 120),
        )


def dog(pen: Pen, chance: Chance, colour: Colour | None) -> None:
    cat(pen, chance, colour, dog=True)


@dataclass(frozen=True)
class Kind:
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
    "flower": Kind(flower, (0.28, 0.42), (0.36, 0.5), 7),
    "fruit": Kind(fruit, (0.17, 0.22), (0.14, 0.3), 5),
    "dog": Kind(dog, (0.52, 0.66), (0.36, 0.43), 2),
    "cat": Kind(cat, (0.52, 0.66), (0.36, 0.43), 2),
}
