"""YAML from anybody: what is too large, too deep or no YAML is refused before anything is built from it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.parsing import DEEPEST, LARGEST, parse_yaml, read_text

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{there}: &{there} [{','.join([f'*{before}'] * 10)}]\n"
    for before, there in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(LAUGHS, "too large", id="a billion laughs"),
        pytest.param("a: &a {x: 1, y: *a}", "stands for nothing, or for what it is a part of", id="itself"),
        pytest.param("a: *nothing", "stands for nothing", id="nothing"),
        pytest.param("[" * 100_000, "too large", id="deep, flow"),
        pytest.param("".join("  " * n + "-\n" for n in range(DEEPEST + 2)), "too large", id="deep, block"),
        pytest.param("[" + "1," * (LARGEST // 8) + "1]", "too large", id="many"),
        pytest.param(f"a: &a {'x' * 100_000}\nb: [{'*a,' * 200}]", "too large", id="a long text, often"),
        pytest.param("a: [1 2: ]]", "no YAML: .* in line 1", id="broken"),
        pytest.param("a: \x00", "no YAML", id="a character"),
        pytest.param("a: !!bool maybe", "no YAML", id="a tag with other text"),
        pytest.param("a: !!timestamp never", "no YAML", id="no time"),
        pytest.param("a: !!python/object/apply:os.system [id]", "no YAML", id="code"),
        pytest.param("{[1]: 2}", "no YAML", id="a key that is none"),
        pytest.param("a: " + "9" * 5000, "limit", id="a long number"),
    ],
)
def test_it_is_refused_at_once(text: str, says: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match=says):
        parse_yaml(text)
    assert time.monotonic() - began < 20  # two shared cores; without bounds the first of them has no end


def test_no_content_is_in_an_error() -> None:
    for text in ("password: [hunter2", "- hunter2: x\n hunter2", "\thunter2", "a: !!bool hunter2"):
        with pytest.raises(ValueError, match="no YAML") as caught:
            parse_yaml(text)
        assert "hunter2" not in str(caught.value)


def test_aliases_and_merge_keys_of_honest_files_work() -> None:
    text = "base: &base {steps: 5, size: &size [1, 2]}\njobs: [{<<: *base, seed: 1}, {<<: *base, size: *size}]"
    assert parse_yaml(text)["jobs"] == [{"steps": 5, "size": [1, 2], "seed": 1}, {"steps": 5, "size": [1, 2]}]


def test_ten_thousand_jobs_are_not_too_many() -> None:
    job = "- {name: job, checkpoint: photo, images: 1, txt2img: {prompt: a lighthouse at sunset, steps: 20, seed: 1}}\n"
    assert len(parse_yaml(job * 10_000)) == 10_000


@settings(deadline=None)
@given(st.one_of(st.text(max_size=200), st.text("{}[]&*!<:-?|>'\"%@`, \na1", max_size=80)))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        parse_yaml(text)
    except ValueError as error:
        assert len(str(error)) < 500


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        read_text(tmp_path / "none.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        read_text(tmp_path / "picture.yaml")
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(ValueError, match="larger than"):
        read_text(tmp_path / "large.yaml")
