"""Infotexts: written, read, and read back."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from webui import infotext

RECORDED = (
    "a cat\nNegative prompt: dog\nSteps: 2, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, Seed: 100, "
    "Size: 64x64, Model hash: 9782b05698, Model: tinyA, Version: f2.0.1v1.10.1-previous-669-gdfdcbab6"
)


def test_a_recorded_one() -> None:
    parsed = infotext.parse(RECORDED)
    assert (parsed.prompt, parsed.negative_prompt) == ("a cat", "dog")
    assert parsed.settings["Size"] == "64x64"
    assert list(parsed.settings)[-1] == "Version"
    assert infotext.build(parsed.prompt, parsed.negative_prompt, parsed.settings) == RECORDED


def test_prompts_of_several_lines_and_none() -> None:
    parsed = infotext.parse("one\ntwo\nNegative prompt: three\nfour\nSteps: 1, Seed: 2, Size: 8x8")
    assert (parsed.prompt, parsed.negative_prompt) == ("one\ntwo", "three\nfour")
    assert infotext.build("", "", {"Steps": 1, "Seed": None, "Size": "8x8"}) == "Steps: 1, Size: 8x8"


@pytest.mark.parametrize("text", ["", "just a prompt", "a prompt, with: colon", "\n\n"])
def test_what_carries_no_settings_is_prompt(text: str) -> None:
    assert infotext.parse(text) == infotext.Infotext(text.strip())


# Half of a surrogate pair is no text that a file could hold.
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = ANYTHING | st.text(st.sampled_from('",:\n\\ a{}'))
NAMES = st.from_regex(r"[A-Za-z]\w[\w -]{0,12}\w", fullmatch=True)
SETTINGS = st.dictionaries(NAMES, VALUES, min_size=3, max_size=6)
# What a prompt's lines look like to a WebUI: without spaces around them, and none begins as the negative prompt does.
LINES = st.lists(VALUES.map(lambda text: text.replace("\n", " ").replace("Negative prompt:", "").strip()), max_size=4)
PROMPTS = LINES.map(lambda lines: "\n".join(lines).strip())


@given(PROMPTS, PROMPTS, SETTINGS)
def test_whatever_is_in_it_is_read_back(prompt: str, negative: str, settings: dict[str, str]) -> None:
    parsed = infotext.parse(infotext.build(prompt, negative, settings))
    assert (parsed.prompt, parsed.negative_prompt) == (prompt, negative)
    assert dict(parsed.settings) == settings


@given(PROMPTS, SETTINGS, SETTINGS)
def test_further_settings_stand_once_whatever_is_in_them(
    prompt: str, before: dict[str, str], added: dict[str, str]
) -> None:
    text = infotext.extended(infotext.build(prompt, "", before), added)
    assert infotext.parse(text) == infotext.Infotext(prompt, "", before | added)
    assert infotext.extended(text, added) == text, "none stands twice"


def test_settings_are_added_to_a_text_that_has_none() -> None:
    assert infotext.extended("a boat", {"Size": "8x8"}) == "a boat\nSize: 8x8"
    assert infotext.extended("", {"Size": "8x8"}) == "Size: 8x8"


@given(ANYTHING)
def test_any_text_is_taken_apart_and_carried_by_a_png(text: str) -> None:
    infotext.parse(text)
    assert infotext.read(infotext.to_png(Image.new("RGB", (1, 1)), text)) == (text or None)


def test_a_png_carries_it(tmp_path) -> None:
    image = Image.new("RGB", (8, 8))
    data = infotext.to_png(image, RECORDED)
    assert infotext.read(data) == RECORDED
    (tmp_path / "picture.png").write_bytes(data)
    assert infotext.read(tmp_path / "picture.png") == RECORDED
    opened = Image.open(io.BytesIO(data))
    assert infotext.read(infotext.to_png(opened)) == RECORDED
    assert infotext.read(infotext.to_png(image)) is None


def test_what_is_no_picture() -> None:
    with pytest.raises(OSError):
        infotext.read(b"no picture")
