"""The painter's promises, each read off the pixels."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from webui.embedded.painter import Brief, Step, paint, sampling_steps

SIDE = 96


def steps_of(prompt: str, **brief: Any) -> list[Step]:
    return list(paint(Brief(prompt, **{"width": SIDE, "height": SIDE, "steps": 12, "seed": 7} | brief)))


def picture(prompt: str, **brief: Any) -> Image.Image:
    return steps_of(prompt, **brief)[-1].image()


def pixels(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image, np.float64)


def apart(a: Image.Image, b: Image.Image) -> float:
    """Mean difference of two pictures, in grey levels."""
    return float(np.abs(pixels(a) - pixels(b)).mean())


def sharpness(image: Image.Image) -> float:
    """The mean step between a pixel and its neighbour, after the grain is smoothed away."""
    smooth = pixels(image.filter(ImageFilter.GaussianBlur(1)))
    return float(np.abs(np.diff(smooth, axis=1)).mean())


def redness(image: Image.Image) -> float:
    red, green, _ = pixels(image).reshape(-1, 3).T
    return float(((red > 120) & (red > 1.8 * green)).mean())


def test_the_same_brief_gives_the_same_bytes() -> None:
    for sampler in ("Euler", "Euler a", "DPM++ 2M"):
        assert (
            picture("a castle", sampler_name=sampler).tobytes() == picture("a castle", sampler_name=sampler).tobytes()
        )


def test_another_seed_is_another_picture() -> None:
    assert apart(picture("a castle", seed=1), picture("a castle", seed=2)) > 10


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (97, 61), (64, 200), (512, 72)])
def test_any_size_is_painted(size: tuple[int, int]) -> None:
    for step in steps_of("a person with a cat by a lighthouse at night", width=size[0], height=size[1], steps=3):
        assert step.preview().size == step.image().size == size


def test_night_is_darker_than_noon() -> None:
    for place in ("a meadow", "the sea", "a city", "portrait of a woman"):
        night, noon = (pixels(picture(f"{place} at {time}")).mean() for time in ("night", "noon"))
        assert night < noon - 30, place


def test_a_colour_goes_to_its_thing() -> None:
    red, yellow = picture("a field of red roses at noon"), picture("a field of yellow roses at noon")
    assert redness(red) > 0.05 > 2 * redness(yellow)


def test_the_place_follows_the_prompt() -> None:
    def lower(prompt: str) -> NDArray[np.float64]:
        return pixels(picture(prompt))[-SIDE // 4 :].mean((0, 1))

    sea, meadow, desert = lower("the sea at noon"), lower("a meadow at noon"), lower("a desert at noon")
    assert sea.argmax() == 2
    assert meadow.argmax() == 1
    assert desert.argmax() == 0


@pytest.mark.parametrize("thing", ["lighthouse", "castle", "sailboat", "flower", "cat"])
def test_a_thing_appears_when_it_is_asked_for(thing: str) -> None:
    without, with_it = picture("the sea at noon"), picture(f"a {thing}, the sea at noon")
    changed = np.abs(pixels(with_it) - pixels(without)).max(-1) > 60
    assert 0.01 < changed.mean() < 0.6


def test_an_unknown_word_still_changes_the_picture() -> None:
    assert apart(picture("a quokka"), picture("an axolotl")) > 3


def test_more_steps_converge() -> None:
    for sampler in ("Euler", "DPM++ 2M"):
        runs = [picture("a mountain lake at dusk", steps=n, sampler_name=sampler) for n in (2, 10, 40, 80)]
        gaps = [apart(run, runs[-1]) for run in runs[:-1]]
        assert gaps[0] > gaps[1] > gaps[2]
        assert gaps[2] < 2


def test_an_unresolved_run_is_blurry() -> None:
    assert sharpness(picture("a castle", steps=1)) < 0.8 * sharpness(picture("a castle", steps=20))


def test_euler_a_goes_its_own_way() -> None:
    assert apart(picture("a castle", sampler_name="Euler a"), picture("a castle", sampler_name="Euler")) > 1


def test_unknown_samplers_and_schedulers_map_to_the_nearest() -> None:
    assert picture("a cat", sampler_name="Restart?").tobytes() == picture("a cat").tobytes()
    karras = picture("a cat", sampler_name="DPM++ 2M", scheduler="karras")
    assert picture("a cat", sampler_name="DPM++ 2M Karras").tobytes() == karras.tobytes()
    assert picture("a cat", sampler_name="DPM++ 2M", scheduler="normal").tobytes() != karras.tobytes()


def test_cfg_scale_raises_contrast_and_colour() -> None:
    spread = [pixels(picture("a castle at noon", cfg_scale=cfg)).std() for cfg in (1.5, 4, 7, 15)]
    assert all(low < high - 1 for low, high in pairwise(spread))


def test_a_negative_prompt_pushes_something_out() -> None:
    wanted = "a lighthouse by the sea at noon"
    assert picture(wanted, negative_prompt="lighthouse").tobytes() == picture("sea at noon").tobytes()
    assert redness(picture("red roses at noon", negative_prompt="red")) < redness(picture("red roses at noon")) / 3
    # at CFG 1 the WebUI leaves the negative prompt out
    assert (
        picture(wanted, negative_prompt="lighthouse", cfg_scale=1).tobytes() == picture(wanted, cfg_scale=1).tobytes()
    )


def test_checkpoints_are_styles() -> None:
    names = ["", "photo", "oil", "watercolour", "ink", "somebodys-mix [0123abcd]", "another-mix"]
    painted = {name: picture("a castle at noon", checkpoint=name) for name in names}
    for i, one in enumerate(names):
        for other in names[:i]:
            assert apart(painted[one], painted[other]) > 2, (one, other)
    assert pixels(painted["ink"]).std(-1).mean() < pixels(painted["oil"]).std(-1).mean() / 3


def test_vae_and_clip_skip_show_a_little() -> None:
    plain = picture("a castle")
    for change in ({"vae": "soft.safetensors"}, {"clip_skip": 2}):
        assert 0.1 < apart(plain, picture("a castle", **change)) < 25


def test_a_variation_seed_blends_from_one_picture_to_the_other() -> None:
    def varied(strength: float) -> Image.Image:
        return picture("a lighthouse at noon", seed=1, subseed=2, subseed_strength=strength)

    first, last = picture("a lighthouse at noon", seed=1), picture("a lighthouse at noon", seed=2)
    assert varied(0).tobytes() == first.tobytes()
    assert varied(1).tobytes() == last.tobytes()
    assert 0 < apart(varied(0.02), first) < apart(last, first)


def test_previews_grow_clear_and_an_interrupted_picture_is_noisy() -> None:
    steps = steps_of("a castle", steps=20)
    off = [apart(step.preview(), steps[-1].image()) for step in steps]
    assert off[0] > off[9] > off[-1] == 0
    noisy = [apart(step.image(), steps[-1].image()) for step in steps]
    assert noisy[9] > 2 * off[9]
    assert [step.number for step in steps] == list(range(1, 21))


@pytest.fixture(scope="module")
def init() -> Image.Image:
    return picture("a mountain lake at dusk", seed=3)


def test_steps_with_an_init_image_are_counted_as_recorded(init: Image.Image) -> None:
    # a real Forge reported 5 sampling steps for 8 steps at strength 0.5
    for strength, count in ((0.5, 5), (0.0, 1), (0.05, 1), (0.75, 7), (1.0, 8)):
        brief = Brief("a cat", steps=8, init_image=init, denoising_strength=strength, width=SIDE, height=SIDE)
        assert sampling_steps(brief) == count == len(list(paint(brief)))


def test_denoising_strength_moves_from_the_init_image_to_the_prompt(init: Image.Image) -> None:
    def repainted(strength: float) -> Image.Image:
        return picture("a castle at noon", init_image=init, denoising_strength=strength)

    assert repainted(0).tobytes() == init.tobytes()
    assert repainted(1).tobytes() == picture("a castle at noon").tobytes()
    moved = [apart(repainted(strength), init) for strength in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert all(less < more for less, more in pairwise(moved))


@pytest.fixture(scope="module")
def mask() -> Image.Image:
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (44, 44, 92, 92))
    return mask


def test_a_mask_confines_the_change(init: Image.Image, mask: Image.Image) -> None:
    repainted = picture("a castle", init_image=init, denoising_strength=1.0, mask=mask)
    changed = np.abs(pixels(repainted) - pixels(init)).max(-1)
    outside = np.asarray(mask) == 0
    assert changed[outside].max() == 0
    assert changed[~outside].mean() > 20
    soft = mask.filter(ImageFilter.GaussianBlur(4))
    half = np.abs(pixels(picture("a castle", init_image=init, denoising_strength=1.0, mask=soft)) - pixels(init)).max(
        -1
    )
    assert half[np.asarray(soft) == 0].max() == 0


@pytest.mark.parametrize("thing", ["white sailboat", "black cat", "green castle", "lighthouse"])
def test_a_thing_is_painted_into_the_masked_box(init: Image.Image, mask: Image.Image, thing: str) -> None:
    repainted = picture(f"a {thing}", init_image=init, denoising_strength=0.75, mask=mask)
    changed = np.abs(pixels(repainted) - pixels(init)).max(-1)[44:92, 44:92]
    assert (changed > 40).mean() > 0.12


def test_nothing_is_drawn_before_the_first_step_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from webui.embedded.painter import model

    drawn: list[object] = []
    compose = model.compose

    def noted(*args: Any) -> Any:
        drawn.append(args)
        return compose(*args)

    monkeypatch.setattr(model, "compose", noted)
    run = paint(Brief("a cat", width=64, height=64))
    assert not drawn
    next(run)
    assert drawn
