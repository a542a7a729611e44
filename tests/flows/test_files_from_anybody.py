"""Files of jobs with any content: jobs, or an error in words, and never more than a moment of work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from flows.job import read_job
from flows.jobfile import holds_many, keep_jobs, read_jobs
from store.settings import settings
from tests.store.test_parsing import LAUGHS

# The fields of a job and what may stand for them: right values, wrong ones, other kinds of value.
NAMES = ["name", "checkpoint", "images", "txt2img", "img2img", "prompt", "steps", "seed", "extra", "jobs", "defaults"]
NAMES += ["init_images", "mask", "adetailer", "upscale", "vae"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["ink", "a.png", "store:x"]),
)
CONTENT = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
)
ANY = bounds(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("home", "inputs", "gallery"):
        monkeypatch.setattr(settings(), name, tmp_path / name)
    return tmp_path


def is_read_or_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    holds_many(file)
    for read in (lambda: read_job(file), lambda: read_jobs(str(file), own=True)):
        try:
            read()
        except ValueError as error:
            assert len(str(error)) < 10_000


@ANY
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from(["yaml", "jsonl", "csv"]))
def test_any_bytes(folder: Path, content: bytes, ending: str) -> None:
    is_read_or_refused(folder / f"any.{ending}", content)


@ANY
@given(CONTENT)
def test_what_looks_like_jobs(folder: Path, content: Any) -> None:
    is_read_or_refused(folder / "jobs.yaml", yaml.safe_dump(content).encode())
    is_read_or_refused(folder / "jobs.jsonl", json.dumps(content).encode())


@ANY
@given(
    st.lists(st.sampled_from(["name", "checkpoint", "txt2img", "txt2img.prompt", "txt2img.steps", "a..b", "."])),
    st.text(),
)
def test_what_looks_like_a_table(folder: Path, names: list[str], cell: str) -> None:
    text = ",".join(names) + "\n" + ",".join(json.dumps(cell) for _ in names) + "\n"
    is_read_or_refused(folder / "jobs.csv", text.encode(errors="replace"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("laughs.yaml", LAUGHS + "checkpoint: ink\ntxt2img: {prompt: x, extra: {a: *j}}\n"),
        ("itself.yaml", "checkpoint: ink\ntxt2img: {prompt: x, extra: &a {b: *a}}\n"),
        ("deep.yaml", "extra: " + "{a: " * 10_000),
        ("deep.jsonl", "[" * 100_000),
        ("wide.csv", "name\n" + "x" * 200_000),
    ],
)
def test_what_would_take_all_memory_is_refused(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=name):
        read_jobs(str(folder / name), own=True)
    if name.endswith("yaml"):
        with pytest.raises(ValueError, match=name):
            read_job(folder / name)


def test_a_run_reads_no_file_outside_of_the_stated_folders(folder: Path) -> None:
    (folder / "secret.csv").write_text("a-secret:x:0:0\n")
    with pytest.raises(ValueError, match="no such file in") as caught:
        keep_jobs(str(folder / "secret.csv"))
    assert "a-secret" not in str(caught.value)
