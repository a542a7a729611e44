"""The project's own folder is its owner's alone."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.settings import settings


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the host may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_home_that_others_may_enter_is_closed(monkeypatch: pytest.MonkeyPatch, open_folder: Path) -> None:
    home = open_folder / "home"
    monkeypatch.setattr(settings(), "home", home)
    assert settings().private_home().stat().st_mode & 0o777 == 0o700
    home.chmod(0o755)  # as version 0.1 made it
    assert settings().private_home().stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
def test_another_user_cannot_read_what_is_in_it(monkeypatch: pytest.MonkeyPatch, open_folder: Path) -> None:
    monkeypatch.setattr(settings(), "home", open_folder / "home")
    database = settings().home / "prefect" / "prefect.db"
    database.parent.mkdir(parents=True)
    database.write_text("passwords")

    def read() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["cat", str(database)], user=64001, capture_output=True, text=True, timeout=30)

    assert read().stdout == "passwords"
    settings().private_home()
    assert "Permission denied" in read().stderr
