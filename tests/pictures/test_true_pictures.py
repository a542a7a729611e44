"""Nothing wrong is passed off as right, and nothing right is called wrong; docs/true-pictures.md says so."""

from __future__ import annotations

import itertools
import statistics
import time

import pytest
from PIL import Image

from pictures.checks import checked, is_flat
from tasks.upscale import UPSCALE
from tests.pictures import report
from tests.pictures.lies import LIES, Lie, Rig
from tests.requesting import request_for
from webui.embedded.catalogue import UPSCALERS
from webui.models import Generation, ImageInfo

SHORT, LONG = 60, 1000  # honest pictures, with --matrix all the latter
QUICK = 2.0  # milliseconds that looking for a picture of one colour may take


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.what)
def test_a_lie_is_found(rig: Rig, lie: Lie) -> None:
    with pytest.raises(lie.error):
        lie.lie(rig)


PROMPTS = (
    "a lighthouse at noon",
    "a boat on the sea, dawn",
    "a dark forest at midnight",
    "black cat in a dark room, night",
    "a plain white background",
    "plain grey studio background, portrait of a woman",
    "fog, nothing else",
    "the starry sky over a castle, moonlit",
    "",
)
NEGATIVES = ("", "bright, colourful")
SIZES = ((64, 64), (64, 128), (8, 8), (16, 64), (128, 96), (256, 256), (384, 256))
CHECKPOINTS = ("photo", "ink", "oil", "watercolour")
ENLARGED = 5  # every so many pictures one is enlarged


@pytest.mark.timeout(1500)
def test_no_honest_picture_is_refused(rig: Rig, pytestconfig: pytest.Config) -> None:
    count = LONG if pytestconfig.getoption("--matrix") == "all" else SHORT
    took, alarms, spreads, enlarged = list[float](), list[str](), list[int](), 0
    upscalers = itertools.cycle(UPSCALERS)
    choices = itertools.product(CHECKPOINTS, NEGATIVES, PROMPTS, SIZES)
    many = itertools.islice(itertools.cycle(choices), 0, None, 13)  # 13 divides none of the numbers of choices
    for seed, (checkpoint, negative, prompt, (width, height)) in zip(range(1, count + 1), many, strict=False):
        request = request_for(rig.server, seed, width=width, height=height, prompt=prompt, negative_prompt=negative,
                              steps=1 + seed % 4, cfg_scale=1.0 + seed % 12)  # fmt: skip
        settings = request.payload["override_settings"] | {"sd_model_checkpoint": checkpoint}
        request = request.model_copy(update={"payload": request.payload | {"override_settings": settings}})
        request = request.model_copy(update={"checkpoint": None})
        try:
            [painted] = checked(request, rig.client.txt2img(request.payload))
        except Exception as error:
            alarms.append(str(error))
            continue
        began = time.perf_counter()
        is_flat(painted.image)
        took.append((time.perf_counter() - began) * 1000)
        spreads.append(max(high - low for low, high in painted.image.getextrema()))
        if seed % ENLARGED == 0:
            enlarged += 1
            alarms += enlarge(rig, painted.image, next(upscalers))
    assert not alarms
    results = {
        "honest pictures": count,
        "of them enlarged": enlarged,
        "false alarms": len(alarms),
        "least contrast of a picture, in levels of 255": min(spreads),
        "looking for a picture of one colour": f"{statistics.median(took):.2f} ms (95 %: "
        f"{sorted(took)[int(len(took) * 0.95)]:.2f} ms)",
    }
    if pytestconfig.getoption("--record"):
        report.write(results)
    assert statistics.median(took) < QUICK, results


def enlarge(rig: Rig, image: Image.Image, upscaler: str) -> list[str]:
    """The false alarms at a picture that is enlarged."""
    request = rig.request({"upscale": {"upscaler": upscaler, "factor": 1.5}}, rig.picture(image))
    content = rig.client.extra_single_image(request.body(""))
    info = ImageInfo(all_seeds=list(request.seeds))
    try:
        [painted] = checked(request, Generation([content], info))
        UPSCALE.judge(request, info, painted, "")
    except Exception as error:
        return [f"{upscaler} at {image.size}: {error}"]
    return []


def test_the_page_is_what_the_tests_say() -> None:
    assert report.PAGE.read_text() == report.page(report.read()), "python -m tests.pictures.report"
