"""Files of many jobs: prompts, one a line, over the defaults of a YAML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from variations.files import read_jobs

YAML = "defaults: {checkpoint: ink, txt2img: {steps: 5, negative_prompt: fog}}\njobs: LINES\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lines.txt", "a castle, {red|blue}\n\n# no prompt\n  a boat: it's 1.5\n"),
        ("lines.csv", 'txt2img.prompt\n"a castle, {red|blue}"\na boat: it\'s 1.5\n'),
        (
            "lines.jsonl",
            '{"txt2img": {"prompt": "a castle, {red|blue}"}}\n{"txt2img": {"prompt": "a boat: it\'s 1.5"}}\n',
        ),
    ],
)
def test_prompts_are_laid_over_the_defaults(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "night.yaml").write_text(YAML.replace("LINES", name))
    assert read_jobs(tmp_path / "night.yaml") == [
        {"checkpoint": "ink", "txt2img": {"steps": 5, "negative_prompt": "fog", "prompt": prompt}}
        for prompt in ("a castle, {red|blue}", "a boat: it's 1.5")
    ]


@pytest.mark.parametrize(("lines", "says"), [("none.txt", "none.txt: No such file"), ("empty.txt", "holds no list")])
def test_a_file_without_prompts_is_named(lines: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "night.yaml").write_text(YAML.replace("LINES", lines))
    with pytest.raises(ValueError, match=says):
        read_jobs(tmp_path / "night.yaml")


@pytest.mark.parametrize("named", ["../secret.txt", "link.txt", "ABSOLUTE"])
def test_prompts_come_from_beside_the_file_only(named: str, tmp_path: Path) -> None:
    """A run may name a file of jobs in the inputs folder: it must not read others through that."""
    (tmp_path / "secret.txt").write_text("a password\n")
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    named = str(tmp_path / "secret.txt") if named == "ABSOLUTE" else named
    (folder / "night.yaml").write_text(YAML.replace("LINES", named))
    with pytest.raises(ValueError, match="is not beside the file that names it"):
        read_jobs(folder / "night.yaml")
