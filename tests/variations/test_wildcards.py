"""Prompts drawn from templates: the same from the same seed, and nothing that stops a night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variations.wildcards import LONGEST, NotDrawn, Wildcards, draw, may_draw


@pytest.fixture(scope="module")
def wildcards(tmp_path_factory: pytest.TempPathFactory) -> Wildcards:
    folder = tmp_path_factory.mktemp("wildcards")
    (folder / "animal.txt").write_text("cat\ndog\n{red|blue} fox\n# a comment\n")
    (folder / "things").mkdir()
    (folder / "things" / "tree.txt").write_text("oak\nbeech\n")
    (folder / "loop.txt").write_text("__loop__ x\n")
    return Wildcards(folder)


def job(prompt: str, images: int = 1, **more: Any) -> dict[str, Any]:
    return {"name": "x", "checkpoint": "photo", "images": images, "txt2img": {"prompt": prompt, "seed": 100}, **more}


def prompts(template: str, wildcards: Wildcards) -> list[str]:
    return [one["txt2img"]["prompt"] for one in draw(job(template), wildcards)[0]]


@pytest.mark.parametrize(
    ("template", "of"),
    [
        ("a __animal__", {"a cat", "a dog", "a red fox", "a blue fox"}),
        ("a __things/tree__", {"a oak", "a beech"}),
        ("{a|b}", {"a", "b"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{{a|b}|c}", {"a", "b", "c"}),
        ("{0::a|1::b}", {"b"}),
        ("{|x}", {"", "x"}),
        ("${x={a|b}}${x}", {"a", "b"}),
        ("日本 {雨|雪}", {"日本 雨", "日本 雪"}),
        ("{a|b} [x|y:0.5] (z:1.2) <lora:one:0.7>", {f"{x} [x|y:0.5] (z:1.2) <lora:one:0.7>" for x in "ab"}),
    ],
)
def test_a_template_gives_each_of_its_prompts_and_no_other(template: str, of: set[str], wildcards: Wildcards) -> None:
    assert {wildcards.draw(template, seed) for seed in range(200)} == of


def test_weights_count(wildcards: Wildcards) -> None:
    drawn = [wildcards.draw("{9::often|1::seldom}", seed) for seed in range(500)]
    assert 400 < drawn.count("often") < 490


def test_a_seed_draws_the_same_again_and_a_hundred_seeds_differ(wildcards: Wildcards) -> None:
    template = "{2$$a|b|c|d|e|f|g|h} __animal__ {i|j|k|l|m|n|o|p} {q|r|s|t|u|v|w|x}"
    nights = [wildcards.draw(template, seed) for seed in range(100)]
    assert nights == [Wildcards(wildcards.folder).draw(template, seed) for seed in range(100)]
    assert len(set(nights)) > 95


def test_each_picture_is_a_job_with_its_own_prompt_seed_and_template(wildcards: Wildcards) -> None:
    template = "{a|b|c|d|e|f} __animal__"
    given_job = job(template, 8, img2img={"denoising_strength": 0.3}, upscale={"upscaler": "Lanczos"})
    jobs, told = draw(given_job, wildcards)
    assert told == []
    assert [one["txt2img"]["seed"] for one in jobs] == list(range(100, 108))
    assert [one["images"] for one in jobs] == [1] * 8
    assert len({one["txt2img"]["prompt"] for one in jobs}) > 3
    assert all(one["templates"] == {one["txt2img"]["prompt"]: template} for one in jobs)
    assert given_job["txt2img"]["prompt"] == template


def test_stages_with_the_same_template_draw_the_same_and_others_apart(wildcards: Wildcards) -> None:
    template = "{a|b|c|d|e|f|g|h}"
    own = {"prompt": template, "negative_prompt": f"x {template}", "denoising_strength": 0.3}
    jobs, _ = draw(job(template, 30, img2img=own, adetailer=[{"ad_model": "x", "ad_prompt": template}]), wildcards)
    for one in jobs:
        assert one["txt2img"]["prompt"] == one["img2img"]["prompt"] == one["adetailer"][0]["ad_prompt"]
    assert any(one["img2img"]["negative_prompt"] != f"x {one['img2img']['prompt']}" for one in jobs)


def test_each_init_image_has_a_draw_of_its_own(wildcards: Wildcards) -> None:
    given_job = {"images": 2, "init_images": ["store:a.png", "store:b.png"], "img2img": {"prompt": "{a|b}", "seed": 5}}
    jobs, _ = draw(given_job, wildcards)
    assert [(one["init_images"], one["img2img"]["seed"]) for one in jobs] == [
        (["store:a.png"], 5),
        (["store:a.png"], 6),
        (["store:b.png"], 7),
        (["store:b.png"], 8),
    ]


@pytest.mark.parametrize("text", ["a cat", "a {red} fox", "snake_case", "(x:1.2) [a|b]", "a: b __ c"])
def test_what_is_no_template_stays_as_it_is(text: str, wildcards: Wildcards) -> None:
    assert draw(job(text, 3), wildcards) == ([job(text, 3)], [])


def test_the_switch(wildcards: Wildcards) -> None:
    off = job("{a|b} __animal__", wildcards=False)
    assert draw(off, wildcards) == ([off], [])
    assert not may_draw(job("{a|b}", wildcards=False))
    assert may_draw(job("{a|b}")) and may_draw(job("__a__")) and not may_draw(job("a"))
    jobs, told = draw(job("a __anmal__"), wildcards)
    assert jobs == [job("a __anmal__")]
    assert told[0].startswith("__anmal__ has no file in ") and "did you mean __animal__?" in told[0]
    assert draw(job("__nope__ {a|b}"), wildcards)[0][0]["txt2img"]["prompt"] in ("__nope__ a", "__nope__ b")
    with pytest.raises(NotDrawn, match="__nope__ has no file"):
        draw(job("__nope__", wildcards=True), wildcards)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{a|b", "no template"),
        ("__loop__", "name each other"),
        ("{a|b} ${x}", "not defined"),
        ("{a|b}" + "x" * LONGEST, "at most"),
        ("{" * 60 + "a|b" + "}" * 60, "nests too deep"),
    ],
)
def test_what_cannot_be_drawn_is_said_and_goes_as_typed(template: str, says: str, wildcards: Wildcards) -> None:
    jobs, [told] = draw(job(template), wildcards)
    assert jobs == [job(template)]
    assert says in told and told.endswith("goes to the WebUI as typed")
    with pytest.raises(NotDrawn, match=says):
        draw(job(template, wildcards=True), wildcards)


def test_no_wildcard_reaches_outside_of_the_folder(wildcards: Wildcards) -> None:
    (wildcards.folder.parent / "secret.txt").write_text("a secret")
    for name in ("../secret", "/../secret", str(wildcards.folder.parent / "secret")):
        assert prompts(f"__{name}__", wildcards) == [f"__{name}__"]


def test_a_folder_that_is_not_there_has_no_wildcards(tmp_path: Path) -> None:
    assert prompts("__animal__ {a|a}", Wildcards(tmp_path / "none")) == ["__animal__ a"]


PIECES = st.sampled_from(
    ["{", "}", "|", "$$", "2$$", "1-2$$", "::", "0.5::", "__", "__animal__", "__*__", "${", "a", " ", "#", "(", "\n"]
)


@settings(max_examples=150, deadline=None)
@given(text=st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=40), images=st.integers(1, 3))
def test_any_text_is_drawn_or_left_as_typed_and_twice_the_same(text: str, images: int, wildcards: Wildcards) -> None:
    drawn = draw(job(text, images), wildcards)
    assert drawn == draw(job(text, images), wildcards)
    jobs, told = drawn
    assert jobs == [job(text, images)] or [one["txt2img"]["seed"] for one in jobs] == [100 + n for n in range(images)]
    assert all("\n" not in one[:40] or "\n" in text for one in told)
