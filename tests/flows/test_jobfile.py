"""Files of many jobs."""

from pathlib import Path

import pytest

from flows.jobfile import keep_jobs, read_jobs
from store.settings import settings


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings(), "home", tmp_path / "home")
    monkeypatch.setattr(settings(), "inputs", tmp_path)


def written(tmp_path: Path, name: str, text: str) -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


YAML = """
defaults: {checkpoint: ink, txt2img: {prompt: a castle, steps: 5}}
jobs:
- {name: one}
- {name: two, checkpoint: oil, txt2img: {seed: 7}}
"""
JSONL = """{"name": "one", "checkpoint": "ink", "txt2img": {"prompt": "a castle", "steps": 5}}

{"name": "two", "checkpoint": "oil", "txt2img": {"prompt": "a castle", "steps": 5, "seed": 7}}
"""
CSV = """name,checkpoint,txt2img.prompt,txt2img.steps,txt2img.seed
one,ink,a castle,5,
two,oil,a castle,5,7
"""


@pytest.mark.parametrize(("name", "text"), [("j.yaml", YAML), ("j.jsonl", JSONL), ("j.csv", CSV)])
def test_three_kinds_of_file_give_the_same_jobs(tmp_path: Path, name: str, text: str) -> None:
    one, two = read_jobs(written(tmp_path, name, text))
    assert (one.name, one.checkpoint, one.txt2img.steps, one.txt2img.seed) == ("one", "ink", 5, -1)
    assert (two.name, two.checkpoint, two.txt2img.steps, two.txt2img.seed) == ("two", "oil", 5, 7)


def test_all_wrong_jobs_are_named_at_once(tmp_path: Path) -> None:
    text = "name,checkpoint,txt2img.prompt,txt2img.steps\na,ink,x,0\nb,ink,x,5\nc,,x,5\n"
    with pytest.raises(ValueError, match=r"job 1: txt2img\.steps: .*; job 3: checkpoint: "):
        read_jobs(written(tmp_path, "j.csv", text))


def test_prompts_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    text = 'name,checkpoint,txt2img.prompt\n007,1.5,"yes, a {red} fox: (soft:1.2)"\n'
    [job] = read_jobs(written(tmp_path, "j.csv", text))
    assert (job.name, job.checkpoint, job.txt2img.prompt) == ("007", "1.5", "yes, a {red} fox: (soft:1.2)")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("j.txt", "x", r"ends with \.yaml, \.jsonl or \.csv"),
        ("j.yaml", "just: one", "holds no list of jobs"),
        ("j.jsonl", "{broken", "j.jsonl: "),
        ("j.csv", "name,checkpoint\na,ink,more,cells\n", "more cells than the header"),
    ],
)
def test_a_file_that_is_none_says_why(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_jobs(written(tmp_path, name, text))


def test_a_kept_file_outlives_the_original(tmp_path: Path) -> None:
    file = written(tmp_path, "j.csv", CSV)
    before = read_jobs(file)
    reference = keep_jobs(file)
    Path(file).unlink()
    assert read_jobs(reference) == before
    assert keep_jobs(reference) == reference
