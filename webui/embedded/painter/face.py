"""A friendly face, front on, with the light and dark where a face detector looks for them."""

from .canvas import BLACK, WHITE, Pen, mix
from .chance import Chance
from .words import Asked, Colour

# The square that a frontal-face detector reports, in the frame below (the face's middle, its height 200):
# brows to chin. Measured with the detector of the embedded ADetailer.
BOX_MIDDLE, BOX_SIDE = 0.06, 1.5

_TONES: dict[str, list[Colour]] = {
    "skin": [(248, 216, 194), (236, 192, 160), (214, 162, 124), (176, 122, 86), (142, 94, 66)],
    "hair": [(44, 32, 30), (90, 58, 38), (150, 84, 44), (214, 172, 96), (176, 70, 36)],
    "eyes": [(70, 110, 160), (90, 130, 80), (110, 76, 48), (100, 110, 120)],
    "shirt": [(40, 96, 140), (170, 56, 60), (90, 130, 80), (120, 80, 150), (210, 150, 60), (60, 70, 86)],
}


def face(pen: Pen, chance: Chance, asked: Asked) -> None:
    skin, hair, eyes, shirt = (asked.concepts.get(name) or chance.one(name, tones) for name, tones in _TONES.items())
    if "old" in asked:
        hair = (204, 202, 204)
    man = "woman" not in asked and ("man" in asked or chance("man") < 0.4)
    dark, strand, shade = mix(skin, (96, 40, 30), 0.42), mix(hair, WHITE, 0.3), mix(hair, BLACK, 0.45)
    lips = mix((196, 70, 74), skin, 0.35 if man else 0.1)

    if not man:  # long hair, behind all the rest
        end = chance("long", 90, 170)
        pen.fill(_whole(f"0 -126 62 -108 88 -40 90 40 80 {end}"), shade)
        for i in range(26):
            x, sway = -84 + i * 6.7, chance(("sway", i), -5, 5)
            pen.line(f"~{x * 0.7} -80 {x} 0 {x + sway} {end - 3}", 3.5, mix(shade, strand, chance(("tone", i))), 0.5)
    pen.fill(_whole("0 136 50 130 155 162 200 260 240 500"), shirt)
    pen.soft("120 220 90 120", BLACK, 0.45)
    pen.soft("-80 180 80 50", WHITE, 0.25)
    pen.fill(_whole("0 60 34 60 34 120 46 136 0 162"), mix(skin, dark, 0.35))
    pen.soft("0 100 50 34", mix(dark, BLACK, 0.3), 0.8)

    if man:
        pen.oval("73 6 10 19", mix(skin, dark, 0.3), twin=True)
    pen.fill(_whole(f"0 -100 50 -86 72 -35 70 20 {56 if man else 47} 68 20 96 0 100"), skin)
    pen.soft("60 25 30 80", dark, 0.55)
    pen.soft("-62 35 22 70", dark, 0.35)
    pen.soft("-5 -50 55 40", WHITE, 0.3)
    pen.soft("40 32 28 20", (232, 110, 100), 0.36, twin=True)
    pen.soft("36 20 24 16", WHITE, 0.22, twin=True)

    pen.soft("32 -16 34 25", dark, 0.85, twin=True)
    pen.fill("~15 -10 26 -18.5 38 -18.5 49 -10 32 -3 15 -10", (240, 236, 232), twin=True)
    pen.oval("32 -11.5 8.3 8.3", mix(eyes, BLACK, 0.5), twin=True)
    pen.oval("32 -10.5 6.8 6.8", eyes, twin=True)
    pen.oval("32 -11.5 4 4.2", BLACK, twin=True)
    for x in (-32, 32):
        pen.oval(f"{x - 2.8} -14.3 2 2", WHITE)
    pen.line("~13.5 -9 25 -19 39 -19 50.5 -9", 4 if man else 5, BLACK, twin=True)
    lift = chance("brow", -2, 3)
    pen.line(f"~14 {lift - 33} 36 {lift - 40} 54 -32", 7.5 if man else 5, mix(hair, BLACK, 0.6), twin=True)

    pen.soft("9 10 12 34", dark, 0.6)
    pen.soft("-2 8 8 34", WHITE, 0.4)
    pen.soft("0 33 20 10", dark, 0.7)
    pen.oval("6.5 31.5 3.4 2", mix(dark, BLACK, 0.55), twin=True)

    if "beard" in asked:
        pen.fill(_whole("0 40 20 44 50 40 70 12 58 72 24 106 0 110"), mix(hair, skin, 0.12))
        pen.soft("0 90 50 25", shade, 0.7)
    smile = chance("smile", 3, 7.5)
    pen.soft("0 72 26 8", dark, 0.6)
    pen.fill(_whole(f"0 {51 + smile / 2} 8 {49 + smile / 2} 27 53 12 {63 + smile} 0 {65 + smile}"), lips)
    pen.line(
        f"~-30 51.5 -15 {55 + smile * 0.7} 0 {56 + smile} 15 {55 + smile * 0.7} 30 51.5", 2.6, mix(lips, BLACK, 0.65)
    )

    fringe = chance("fringe", -30, 30)
    inner = (
        f"40 -70 {fringe / 3} -66 -40 -72 -66 -50"
        if man
        else f"70 30 66 -30 40 -62 {fringe} -92 -40 -62 -66 -30 -70 30"
    )
    ends = "74 -20" if man else "86 50"
    pen.fill(f"~-{ends} -80 -55 -56 -112 0 -130 56 -112 80 -55 {ends} {inner} -{ends}", hair)
    for i in range(18):
        x, tone = -70 + i * 8.2, mix(shade, strand, chance(("top", i)))
        pen.line(f"~{x * 0.2} -124 {x * 0.75} -108 {x * 1.08} {-92 + abs(x) / 3.5}", 3, tone, 0.55)
    pen.soft("-25 -108 40 16", WHITE, 0.3)


def _whole(half: str) -> str:
    """A smooth outline from its right half, top to bottom."""
    points = [(x, y) for x, y in zip(*[map(float, half.split())] * 2, strict=True)]
    return "~" + " ".join(f"{x} {y}" for x, y in [*points, *((-x, y) for x, y in reversed(points))])
