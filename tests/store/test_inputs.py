"""From where a run may take files, and from where the user of a command."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from PIL import Image

import store.picture
from store.inputs import keep, stored
from store.settings import settings


def picture(size: tuple[int, int] = (8, 8)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, "red").save(content, "PNG")
    return content.getvalue()


@pytest.fixture(autouse=True)
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home, inputs and a gallery, each with a picture; and a picture that lies outside."""
    for name in ("home", "inputs", "gallery"):
        monkeypatch.setattr(settings(), name, tmp_path / name)
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(picture())
    (tmp_path / "outside.png").write_bytes(picture())
    return tmp_path


def test_a_run_takes_files_from_the_inputs_folder_and_the_gallery(folders: Path) -> None:
    for file in ("a.png", str(folders / "inputs/a.png"), str(folders / "gallery/a.png"), "../gallery/a.png"):
        assert stored(keep(file)).read_bytes() == picture()


@pytest.mark.parametrize("name", ["outside.png", "home/a.png", "inputs/../outside.png", "nowhere.png", "inputs"])
def test_a_run_takes_no_other_file_and_is_not_told_whether_it_is_there(folders: Path, name: str) -> None:
    file = str(folders / name)
    with pytest.raises(ValueError, match=r"no such file in .*inputs or .*gallery") as caught:
        keep(file)
    with pytest.raises(ValueError, match="no such file in") as other:
        stored(file)
    assert str(caught.value) == str(other.value)


def test_a_link_out_of_the_folder_is_followed_before_it_is_looked(folders: Path) -> None:
    (folders / "inputs/link.png").symlink_to(folders / "outside.png")
    with pytest.raises(ValueError, match="no such file in"):
        keep("link.png")
    (folders / "inputs/circle.png").symlink_to(folders / "inputs/circle.png")
    with pytest.raises(ValueError, match="no such file in"):
        keep("circle.png")


def test_the_user_of_a_command_takes_files_from_anywhere(folders: Path) -> None:
    for file in ("outside.png", str(folders / "outside.png"), "inputs/a.png"):
        assert stored(keep(file, beside=folders)).read_bytes() == picture()
    with pytest.raises(ValueError, match="no such file"):
        keep("nowhere.png", beside=folders)


def test_too_many_pixels_are_refused_before_they_are_decoded(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.picture, "LARGEST_SIDE", 10)
    (folders / "inputs/large.png").write_bytes(picture((11, 10))[:60])  # its size can be read, its pixels cannot
    with pytest.raises(ValueError, match="11 × 10 pixels are too many"):
        keep("large.png")


@bounds(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(), st.text("./~a\x00:storehm", max_size=300), st.text("/a", min_size=5000, max_size=5001)))
def test_any_other_name_is_refused_in_words(folders: Path, file: str) -> None:
    for take in (stored, keep):
        try:
            found = take(file)
        except ValueError:
            continue
        assert str(found) in (file, str(folders / "inputs/a.png")) or str(found).startswith("store:")
