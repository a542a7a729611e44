"""The choice of the Python that `make setup` builds on; some of these only say how long they took."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "python.py"
NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
PLAIN = os.path.realpath(sys.executable)


def interpreter(folder: Path, body: str) -> Path:
    """A Python that is on the PATH as ``pythonX.Y`` in ``folder``."""
    folder.mkdir()
    path = folder / NAME
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def slow(tmp_path: Path) -> Path:
    """This Python with each call traced, several times slower."""
    program = "import sys; sys.setprofile(lambda *_: None); exec(sys.argv[1])"
    # As `make setup` calls it, with -I -c WORK; anything else (the script itself) runs untraced.
    return interpreter(
        tmp_path / "slow", f'[ "$1" = -I ] && exec "{PLAIN}" -I -c "{program}" "$3"\nexec "{PLAIN}" "$@"'
    )


def chosen(first: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    """What the script says when it runs on ``first`` with only these folders on the PATH."""
    code = f"import runpy, sys; sys.executable = {first!r}; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    path = os.pathsep.join(map(str, folders))
    return subprocess.run([PLAIN, "-c", code], env={"PATH": path}, capture_output=True, text=True, check=False)


def test_a_much_quicker_python_of_the_same_version_is_taken(tmp_path: Path) -> None:
    dawdler, quick = slow(tmp_path), interpreter(tmp_path / "quick", f'exec "{PLAIN}" "$@"')
    done = chosen(str(dawdler), dawdler.parent, quick.parent)
    assert done.stdout.strip() == str(quick)
    assert f"times as quick as {dawdler}" in done.stderr


@pytest.mark.parametrize(("needs", "taken"), [(0.9, False), (0.8, True), (1.1, False)])
def test_a_gain_that_noise_could_show_changes_nothing(tmp_path: Path, needs: float, taken: bool) -> None:
    first = interpreter(tmp_path / "first", "echo 1.0")  # seconds for the work, whatever the machine does meanwhile
    other = interpreter(tmp_path / "other", f"echo {needs}")
    done = chosen(str(first), first.parent, other.parent)
    assert done.stdout.strip() == str(other if taken else first)
    assert bool(done.stderr) == taken


@pytest.mark.parametrize("lacks", ["exit 1", f'exec "{PLAIN}" -S -c "import nothing_of_the_kind"'])
def test_one_without_what_an_environment_needs_is_passed_over(tmp_path: Path, lacks: str) -> None:
    dawdler, broken = slow(tmp_path), interpreter(tmp_path / "broken", lacks)
    assert chosen(str(dawdler), dawdler.parent, broken.parent).stdout.strip() == str(dawdler)
