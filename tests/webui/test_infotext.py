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


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z]\w[\w -]{0,12}\w", fullmatch=True),
        st.text(min_size=1).filter(lambda value: value.strip() == value and '"' not in value and "\\" not in value),
        min_size=3,
        max_size=6,
    )
)
def test_values_survive_whatever_is_in_them(settings: dict[str, str]) -> None:
    lines = {name: value for name, value in settings.items() if value.isprintable() or "\n" in value}
    if len(lines) >= 3:
        assert dict(infotext.parse(infotext.build("a cat", "", lines)).settings) == lines


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
