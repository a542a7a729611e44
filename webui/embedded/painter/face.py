"""A friendly face, front on, with the light and dark where a face detector looks for them."""

from .chance import Chance
from .easel import WHITE, Pen, curve, mix
from .words import Asked

# The square that a frontal-face detector reports, in the frame below (the face's middle, half its height):
# brows to chin. Measured with the detector of the embedded ADetailer.
BOX_MIDDLE, BOX_SIDE = 0.06, 1.5

_SKINS = [(248, 216, 194), (236, 192, 160), (214, 162, 124), (176, 122, 86), (142, 94, 66)]
_HAIR = [(44, 32, 30), (90, 58, 38), (150, 84, 44), (214, 172, 96), (176, 70, 36)]
_EYES = [(70, 110, 160), (90, 130, 80), (110, 76, 48), (100, 110, 120)]
_SHIRTS = [(40, 96, 140), (170, 56, 60), (90, 130, 80), (120, 80, 150), (210, 150, 60), (60, 70, 86)]
_INK = (36, 24, 26)


def face(pen: Pen, chance: Chance, asked: Asked) -> None:
    def one(name: str, choices: list[tuple[int, int, int]]) -> tuple[int, int, int]:
        return asked.colours.get(name) or choices[int(chance(name) * 0.999 * len(choices))]

    man = asked.wants("man") or (chance("man") < 0.4 and not asked.wants("hair"))
    if "woman" in asked.words or "girl" in asked.words:
        man = False
    skin, eye, shirt = one("skin", _SKINS), one("eyes", _EYES), one("shirt", _SHIRTS)
    hair = (204, 202, 204) if asked.wants("old") else one("hair", _HAIR)
    dark = mix(skin, (96, 40, 30), 0.42)
    strand = mix(hair, WHITE, 0.3)
    shade = mix(hair, (0, 0, 0), 0.45)

    # behind: long hair, neck, shoulders
    if not man:
        long = chance("long", 0.9, 1.7)
        pen.poly(curve([(0, -1.26), (-0.62, -1.08), (-0.88, -0.4), (-0.9, 0.4), (-0.8, long), (0.8, long), (0.9, 0.4),
                        (0.88, -0.4), (0.62, -1.08), (0, -1.26)]), shade)  # fmt: skip
        for i in range(26):
            x = -0.84 + i * 1.68 / 25
            sway = chance(f"sway{i}", -0.05, 0.05)
            tone = mix(shade, strand, chance(f"tone{i}"))
            pen.line(curve([(x * 0.7, -0.8), (x, 0), (x * 0.98 + sway, long - 0.03)], 6), 0.035, tone, 0.5)
    pen.poly(
        curve([(-2.0, 2.6), (-1.55, 1.62), (-0.5, 1.3), (0, 1.36), (0.5, 1.3), (1.55, 1.62), (2.0, 2.6)]),
        shirt,
    )
    pen.poly([(-2.0, 2.55), (2.0, 2.55), (2.4, 5), (-2.4, 5)], shirt)
    pen.soft(1.2, 2.2, 0.9, 1.2, _INK, 0.45)
    pen.soft(-0.8, 1.8, 0.8, 0.5, WHITE, 0.25)
    pen.poly(
        curve([(-0.34, 0.6), (-0.34, 1.2), (-0.46, 1.36), (0, 1.62), (0.46, 1.36), (0.34, 1.2), (0.34, 0.6)]),
        mix(skin, dark, 0.35),
    )
    pen.soft(0, 1.0, 0.5, 0.34, mix(dark, _INK, 0.3), 0.8)

    # the head
    for side in (-1, 1):
        if man:
            pen.oval(side * 0.73, 0.06, 0.1, 0.19, mix(skin, dark, 0.3))
    jaw = 0.56 if man else 0.47
    outline = curve([(0, -1.0), (-0.5, -0.86), (-0.72, -0.35), (-0.7, 0.2), (-jaw, 0.68),
     (-0.2, 0.96), (0, 1.0), (0.2, 0.96),
                     (jaw, 0.68), (0.7, 0.2), (0.72, -0.35), (0.5, -0.86), (0, -1.0)])  # fmt: skip
    pen.poly(outline, skin)
    pen.soft(0.6, 0.25, 0.3, 0.8, dark, 0.55)
    pen.soft(-0.62, 0.35, 0.22, 0.7, dark, 0.35)
    pen.soft(-0.05, -0.5, 0.55, 0.4, WHITE, 0.3)
    for side in (-1, 1):
        pen.soft(side * 0.4, 0.32, 0.28, 0.2, (232, 110, 100), 0.36)
        pen.soft(side * 0.36, 0.2, 0.24, 0.16, WHITE, 0.22)

    # eyes
    for side in (-1, 1):
        x = side * 0.32
        pen.soft(x, -0.16, 0.34, 0.25, dark, 0.85)
        almond = curve(
            [
                (x - 0.17, -0.1),
                (x - 0.06, -0.185),
                (x + 0.06, -0.185),
                (x + 0.17, -0.1),
                (x, -0.03),
                (x - 0.17, -0.1),
            ]
        )
        pen.poly(almond, (240, 236, 232))
        pen.oval(x, -0.115, 0.083, 0.083, mix(eye, _INK, 0.5))
        pen.oval(x, -0.105, 0.068, 0.068, eye)
        pen.oval(x, -0.115, 0.04, 0.042, _INK)
        pen.oval(x - 0.028, -0.143, 0.02, 0.02, WHITE)
        lid = curve([(x - 0.185, -0.09), (x - 0.07, -0.19), (x + 0.07, -0.19), (x + 0.185, -0.09)])
        pen.line(lid, 0.04 if man else 0.05, _INK)
        pen.line(curve([(x - 0.15, -0.08), (x, -0.025), (x + 0.15, -0.08)]), 0.016, dark)
        lift = chance("brow", -0.02, 0.03)
        brow = curve([(x - side * 0.18, -0.33 + lift), (x + side * 0.04, -0.4 + lift), (x + side * 0.22, -0.32)])
        pen.line(brow, 0.075 if man else 0.05, mix(hair, _INK, 0.6))

    # nose
    pen.soft(0.09, 0.1, 0.12, 0.34, dark, 0.6)
    pen.soft(-0.02, 0.08, 0.08, 0.34, WHITE, 0.4)
    pen.soft(0, 0.33, 0.2, 0.1, dark, 0.7)
    for side in (-1, 1):
        pen.oval(side * 0.065, 0.315, 0.034, 0.02, mix(dark, _INK, 0.55))

    # mouth, smiling
    beard = asked.wants("beard") or (man and asked.allows("beard") and chance("beard") < 0.3)
    if beard:
        pen.poly(curve([(-0.7, 0.12), (-0.5, 0.4), (-0.2, 0.44), (0, 0.4), (0.2, 0.44),
         (0.5, 0.4), (0.7, 0.12), (0.58, 0.72),
                        (0.24, 1.06), (-0.24, 1.06), (-0.58, 0.72), (-0.7, 0.12)]), mix(hair, skin, 0.12))  # fmt: skip
        pen.soft(0, 0.9, 0.5, 0.25, shade, 0.7)
    smile = chance("smile", 0.03, 0.075)
    lips = mix((196, 70, 74), skin, 0.35 if man else 0.1)
    pen.soft(0, 0.72, 0.26, 0.08, dark, 0.6)
    pen.poly(curve([(-0.27, 0.53), (0, 0.55 + smile), (0.27, 0.53), (0.12, 0.63 + smile), (0, 0.65 + smile),
                    (-0.12, 0.63 + smile), (-0.27, 0.53)]), mix(lips, WHITE, 0.16))  # fmt: skip
    pen.poly(curve([(-0.27, 0.53), (-0.08, 0.49 + smile / 2), (0, 0.51 + smile / 2),
     (0.08, 0.49 + smile / 2), (0.27, 0.53),
                    (0, 0.56 + smile), (-0.27, 0.53)]), mix(lips, _INK, 0.2))  # fmt: skip
    pen.line(curve([(-0.3, 0.515), (-0.15, 0.55 + smile * 0.7), (0, 0.56 + smile),
     (0.15, 0.55 + smile * 0.7), (0.3, 0.515)]), 0.026,
             mix(lips, _INK, 0.65))  # fmt: skip

    # hair in front
    if man:
        top = [
            (-0.74, -0.2),
            (-0.78, -0.62),
            (-0.55, -1.12),
            (0, -1.3),
            (0.55, -1.12),
            (0.78, -0.62),
            (0.74, -0.2),
        ]
        fringe = [
            (0.66, -0.5),
            (0.4, -0.7),
            (0.1, -0.68 + chance("fringe", -0.1, 0.06)),
            (-0.4, -0.72),
            (-0.66, -0.5),
            (-0.74, -0.2),
        ]
    else:
        top = [
            (-0.86, 0.5),
            (-0.84, -0.5),
            (-0.56, -1.12),
            (0, -1.3),
            (0.56, -1.12),
            (0.84, -0.5),
            (0.86, 0.5),
        ]
        part = chance("part", -0.3, 0.3)
        fringe = [
            (0.7, 0.3),
            (0.66, -0.3),
            (0.4, -0.62),
            (part, -0.92),
            (-0.4, -0.62),
            (-0.66, -0.3),
            (-0.7, 0.3),
            (-0.86, 0.5),
        ]
    pen.poly(curve(top) + curve(fringe), hair)
    for i in range(18):
        turn = -0.7 + i * 1.4 / 17
        tone = mix(shade, strand, chance(f"top{i}"))
        pen.line(
            curve([(turn * 0.2, -1.24), (turn * 0.75, -1.08), (turn * 1.08, -0.72 - 0.2 * (1 - abs(turn)))], 6),
            0.03,
            tone,
            0.55,
        )
    pen.soft(-0.25, -1.08, 0.4, 0.16, WHITE, 0.3)
    if asked.wants("glasses"):
        for side in (-1, 1):
            ring = [(side * 0.32 + 0.23 * c, -0.1 + 0.2 * s) for c, s in _CIRCLE]
            pen.line(ring, 0.016, mix(hair, _INK, 0.5))
        pen.line([(-0.1, -0.12), (0.1, -0.12)], 0.016, mix(hair, _INK, 0.5))


_CIRCLE = curve(
    [
        (1, 0),
        (0.707, 0.707),
        (0, 1),
        (-0.707, 0.707),
        (-1, 0),
        (-0.707, -0.707),
        (0, -1),
        (0.707, -0.707),
        (1, 0),
    ],
    4,
)
