"""The index has what the gallery has, whatever happens to either."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from catalog.files import locate
from catalog.index import Index, Wanted
from catalog.record import beside
from tests.catalog.conftest import Put

ALL = Wanted()


def paths(index: Index, wanted: Wanted = ALL) -> list[str]:
    assert index.refresh(wait=60)
    found = index.find(wanted, limit=10_000)
    assert len(found) == index.count(wanted)
    return [one.path for one in found]


def test_pictures_are_found_by_each_filter_the_newest_first(index: Index, put: Put) -> None:
    old = put("2026-09-01/castle/castle-1.png", age=20, prompt="A castle, GOLDEN hour")
    new = put("2026-09-02/castle/castle-2.png", age=2, prompt="a castle in fog")
    boat = put("2026-09-02/boat/boat-1.png", age=1, prompt="ein Boot, Übersee")
    assert paths(index) == [boat, new, old]
    assert paths(index, Wanted(job="castle")) == [new, old]
    assert paths(index, Wanted(words="golden CASTLE")) == [old]
    assert paths(index, Wanted(words="übersee")) == [boat]
    assert paths(index, Wanted(words="fog")) == [new]  # not the negative prompt's
    assert paths(index, Wanted(day=index.find(ALL)[0].day)) == [boat]
    assert paths(index, Wanted(checkpoint="oil")) == []
    assert index.names("job") == ["boat", "castle"]
    assert index.names("checkpoint") == ["photo"]
    [one] = index.find(Wanted(job="boat"))
    assert (one.seed, one.stage, one.run, one.name, one.width) == (7, "txt2img", "1f3a", "boat-1", 8)


def test_what_is_added_changed_moved_and_removed_is_seen(index: Index, put: Put, gallery: Path) -> None:
    first, second = put("a/one.png", age=1), put("b/two.png", age=2)
    assert paths(index) == [first, second]
    third = put("b/deep/er/three.png", age=3)
    put(first, prompt="another", age=1)
    (gallery / second).rename(gallery / "a" / "moved.png")
    assert paths(index) == [first, "a/moved.png", third]
    assert paths(index, Wanted(words="another")) == [first]
    shutil.rmtree(gallery / "a")
    assert paths(index) == [third]
    shutil.rmtree(gallery)
    assert paths(index) == []


def test_a_folder_that_did_not_change_is_not_listed_again(
    index: Index, put: Put, gallery: Path, tmp_path: Path
) -> None:
    """What was changed in place there, which Darkroom never does, is found by the next process."""
    path = put("a/one.png", prompt="before")
    for folder in (gallery, gallery / "a"):
        os.utime(folder, (1_790_000_000, 1_790_000_000))
    assert paths(index, Wanted(words="before")) == [path]
    json = gallery / "a" / "one.json"
    json.write_text(json.read_text().replace("before", "after"))
    assert paths(index, Wanted(words="before")) == [path]
    assert paths(Index(gallery, tmp_path / "catalog"), Wanted(words="after")) == [path]


@pytest.mark.parametrize("damage", ["deleted", "garbage"])
def test_the_index_builds_itself_again(index: Index, put: Put, tmp_path: Path, damage: str) -> None:
    path = put("a/one.png")
    index.refresh(wait=60)
    index.star(path, True)
    if damage == "deleted":
        shutil.rmtree(tmp_path / "catalog")
    else:
        (tmp_path / "catalog" / "pictures.sqlite").write_bytes(b"no database" * 1000)
    assert paths(index, Wanted(star=True)) == [path]


def test_files_that_nobody_expects_are_survived(index: Index, put: Put, gallery: Path, tmp_path: Path) -> None:
    """Each is in the list, with what it tells of itself; nothing outside of the gallery is."""
    wrong = ["", "{", "[]", "null", '{"picture": 3}', '{"picture": {"seed": 1e400, "stage": []}}', "[" * 100_000]
    wrong += ['{"picture": {"seed": 99999999999999999999}, "infotext": "\\ud83d"}', '{"made_from": {"made_from": 1}}']
    expected = {put(f"wrong/{number}.png", about=text) for number, text in enumerate(wrong)}
    expected.add(put("<script>alert(1)</script>/line\nbreak \"quoted\" 'x' & ü.png"))
    expected.add(put("/".join(["deep"] * 60) + "/one.png"))
    bare = gallery / "wrong" / "bare.png"
    chunk = PngInfo()
    chunk.add_text("parameters", "a tree\nSteps: 2, Sampler: Euler, Seed: 5, Model: ink")
    Image.new("RGB", (4, 6)).save(bare, pnginfo=chunk)
    (gallery / "wrong" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n half of it")
    expected |= {"wrong/bare.png", "wrong/broken.png"}
    (gallery / os.fsdecode(b"\xff\xfe")).mkdir()
    (gallery / "wrong" / ".hidden.png").write_bytes(b"")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(bare.read_bytes())
    (gallery / "link").symlink_to(outside)
    (gallery / "wrong" / "link.png").symlink_to(outside / "secret.png")
    (gallery / "wrong" / "circle").symlink_to(gallery)
    assert set(paths(index)) == expected
    assert beside(gallery / "wrong" / "7.png")["infotext"] == "?"  # half a surrogate pair, which UTF-8 can't write
    found = index.get("wrong/bare.png")
    assert (found.prompt, found.checkpoint, found.seed, found.height) == ("a tree", "ink", 5, 6)


def test_two_thousand_pictures_in_pages(index: Index, put: Put) -> None:
    made = [put(f"{number // 100}/{number}.png", age=number / 100, prompt=f"word{number}") for number in range(2000)]
    assert paths(index) == made
    assert [one.path for one in index.find(ALL, 60, 60)] == made[60:120]
    assert paths(index, Wanted(words="word1999")) == [made[1999]]


def test_star_reject_and_restore_are_facts_of_the_picture(index: Index, put: Put, gallery: Path) -> None:
    path, other = put("a/one.png", age=1), put("a/two.png", age=2)
    told = (gallery / "a" / "one.json").read_bytes()
    assert paths(index) == [path, other]
    index.star(path, True)
    assert [one.path for one in index.find(Wanted(star=True))] == [path]
    there = index.reject(path)
    assert paths(index) == [other]
    assert paths(index, Wanted(bin=True)) == [there]
    assert [replace(one, path="", rejected=False) for one in index.find(Wanted(bin=True, star=True))]
    put(path, prompt="painted again under its name")
    back = index.restore(there)
    assert back == "a/one-2.png"  # nothing is overwritten
    assert (gallery / "a" / "one-2.json").read_bytes() == told
    assert paths(index, Wanted(star=True)) == [back]
    index.star(back, False)
    assert paths(index, Wanted(star=True)) == []
    index.reject(back)
    index.empty_bin()
    assert paths(index, Wanted(bin=True)) == []
    assert set(paths(index)) == {path, other}
    with pytest.raises(FileNotFoundError, match="Was it moved"):
        index.star(back, True)


NAMES = st.one_of(
    st.text(max_size=12), st.sampled_from(["..", ".", "", "~", "\0", "a", "b.png", "secret.png", "x" * 300])
)


@given(st.lists(NAMES, max_size=6), st.booleans())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_path_leads_out_of_the_gallery(tmp_path: Path, names: list[str], absolute: bool) -> None:
    gallery = tmp_path / "gallery"
    if not gallery.exists():
        (gallery / "a").mkdir(parents=True)
        (gallery / "a" / "b.png").write_bytes(b"")
        (gallery / "a" / "secret.png").symlink_to(tmp_path / "secret.png")
        (tmp_path / "secret.png").write_bytes(b"secret")
    path = ("/" if absolute else "") + "/".join(names)
    with suppress(FileNotFoundError):
        assert locate(gallery, path) == gallery / "a" / "b.png"
