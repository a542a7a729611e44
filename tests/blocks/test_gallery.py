"""Pictures go where the template says, never outside, never over another."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentUpdate
from pydantic import ValidationError

from blocks.gallery import Gallery
from deployments.bootstrap import ensure_blocks
from store.settings import PROJECT, settings

FIELDS: dict[str, Any] = {
    "date": "2026-11-21", "time": "10-00-00", "job": "castle", "seed": 7, "stage": "txt2img", "index": "0001",
    "checkpoint": "photo", "run": "01234567",
}  # fmt: skip


def test_the_default_reads_well() -> None:
    assert Gallery(folder="x").name(**FIELDS) == "2026-11-21/castle/castle-7-txt2img"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("../../{seed}", "7"),
        ("/etc/{seed}", "etc/7"),
        ("//etc/{seed}", "etc/7"),
        ("///{seed}", "7"),
        ("C:\\windows\\{seed}", "C-/windows/7"),
        ("\\\\host\\share\\{seed}", "host/share/7"),
        ("a/./b/.../{seed}", "a/b/7"),
        (".. /{seed}", "7"),
        ("con/{seed}", "_con/7"),
        ("NUL.txt/{seed}", "_NUL.txt/7"),
        ("lpt1/{seed}", "_lpt1/7"),
        ("a\x00b\n/{seed}", "a-b-/7"),
        ("trailing. /{seed}", "trailing/7"),
        ("{job}?*|/{seed}", "castle---/7"),
    ],
)
def test_a_template_cannot_leave_the_gallery(tmp_path: Path, template: str, name: str) -> None:
    gallery = Gallery(folder=str(tmp_path / "gallery"), template=template)
    assert gallery.name(**FIELDS) == name
    path = Path(gallery.put(f"{gallery.name(**FIELDS)}.png", b"x"))
    assert path.is_relative_to(tmp_path / "gallery")


@pytest.mark.parametrize("value", ["../../etc", "/etc/passwd", "..", "", "a\\b", "con", "\x00", "~root", "名" * 300])
@pytest.mark.parametrize("field", ["job", "checkpoint", "stage"])
def test_no_field_can_leave_it_either(tmp_path: Path, field: str, value: str) -> None:
    gallery = Gallery(folder=str(tmp_path / "gallery"), template="{job}/{checkpoint}/{stage}-{seed}")
    path = Path(gallery.put(f"{gallery.name(**FIELDS | {field: value})}.png", b"x"))
    assert path.resolve().is_relative_to(tmp_path / "gallery")
    assert len(path.relative_to(tmp_path / "gallery").parts) == 3


@pytest.mark.parametrize("name", ["../x.png", "/tmp/x.png", "a/../../x.png"])
def test_put_itself_refuses_what_is_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="outside of the gallery"):
        Gallery(folder=str(tmp_path / "gallery")).put(name, b"x")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    "template",
    ["{date}", "{seed.__class__}", "{seed!r}", "{seed:>9999999}", "{nope}-{seed}", "{}", "{0}{seed}", "{seed"],
)
def test_a_template_of_anything_else_is_refused(template: str) -> None:
    with pytest.raises(ValidationError, match="template"):
        Gallery(folder="x", template=template)


def test_nothing_is_overwritten_and_the_same_content_stays_one_file(tmp_path: Path) -> None:
    gallery = Gallery(folder=str(tmp_path))
    first, again, other = (gallery.put("a/b.png", content) for content in (b"one", b"one", b"two"))
    assert first == again == str(tmp_path / "a/b.png")
    assert other == str(tmp_path / "a/b-2.png")
    assert Path(first).read_bytes() == b"one"
    gallery.put_beside(other, b"{}")
    assert (tmp_path / "a/b-2.json").read_bytes() == b"{}"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b-2.json", "b-2.png", "b.png"]


def test_a_relative_folder_lies_beside_the_default_gallery(tmp_path: Path, home: Path) -> None:
    assert Gallery(folder="elsewhere").local_folder == (settings().gallery.parent / "elsewhere").resolve()


@pytest.mark.usefixtures("prefect_server")
def test_a_file_system_block_by_its_slug(tmp_path: Path) -> None:
    from prefect.filesystems import LocalFileSystem

    LocalFileSystem(basepath=str(tmp_path / "share")).save("gallery-test", overwrite=True)
    gallery = Gallery(folder="pictures", file_system="local-file-system/gallery-test")
    first, again, other = (gallery.put("a/b.png", content) for content in (b"one", b"one", b"two"))
    assert first == again == "local-file-system/gallery-test:pictures/a/b.png"
    assert other.endswith("b-2.png")
    gallery.put_beside(other, b"{}")
    share = tmp_path / "share/pictures/a"
    assert {path.name: path.read_bytes() for path in share.iterdir()} == {
        "b.png": b"one", "b-2.png": b"two", "b-2.json": b"{}",
    }  # fmt: skip
    with pytest.raises(ValueError, match="outside of the gallery"):
        gallery.put("../x.png", b"x")


@pytest.mark.usefixtures("prefect_server")
def test_a_remote_file_system_block(tmp_path: Path) -> None:
    from prefect.filesystems import RemoteFileSystem

    RemoteFileSystem(basepath="memory://bucket").save("gallery-remote", overwrite=True)
    gallery = Gallery(folder="/pictures/", file_system="remote-file-system/gallery-remote")
    assert gallery.put("b.png", b"one") == gallery.put("b.png", b"one")
    assert gallery.put("b.png", b"two").endswith("pictures/b-2.png")


class Refusing:
    """A file system block that answers every read with an error; counts what is written."""

    def __init__(self, error: Exception) -> None:
        self.error, self.written = error, 0

    def read_path(self, path: str) -> bytes:
        raise self.error

    def write_path(self, path: str, content: bytes) -> None:
        self.written += 1


class Answered(Exception):
    """An error with a library's attributes: those of botocore, Google and Azure are not installed here."""

    def __init__(self, text: str, **attributes: Any) -> None:
        super().__init__(text)
        vars(self).update(attributes)


def of_s3(code: str, status: int) -> Answered:
    """As botocore.exceptions.ClientError."""
    response = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return Answered(f"An error occurred ({code}) when calling the GetObject operation", response=response)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Path /share/pictures/b.png does not exist."),  # LocalFileSystem
        FileNotFoundError("bucket/b.png"),  # RemoteFileSystem: fsspec
        OSError(errno.ENOENT, "[NtStatus 0xc0000034] No such file or directory", "//host/share/b.png"),  # SMB
        of_s3("NoSuchKey", 404),
        of_s3("404", 404),
        Answered("404 GET https://storage.googleapis.com/…: No such object", code=404),  # GCS
        Answered("The specified blob does not exist.", status_code=404),  # Azure
    ],
    ids=str,
)
def test_a_file_that_is_not_there_is_written(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    block = Refusing(error)
    monkeypatch.setattr(Gallery, "_loaded", lambda self: block)
    assert Gallery(folder="x", file_system="s3-bucket/pictures").put("b.png", b"x").endswith("x/b.png")
    assert block.written == 1


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("the bucket does not answer"),
        ConnectionError("GET https://host/castle-1404-txt2img.png: reset by peer"),
        PermissionError(errno.EACCES, "castle-404.png: not found or not allowed"),
        ValueError("Path /share/does not exist./b.png is not a file."),
        ValueError("Provided path /b.png is outside of the base path /share, which does not exist."),
        RuntimeError("host not found"),
        of_s3("AccessDenied", 403),
        of_s3("NoSuchBucket", 404),
        of_s3("SlowDown", 503),
        Answered("503 GET https://storage.googleapis.com/castle-404.png", code=503),
    ],
    ids=str,
)
def test_what_cannot_be_read_just_now_is_not_written_over(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    block = Refusing(error)
    monkeypatch.setattr(Gallery, "_loaded", lambda self: block)
    with pytest.raises(type(error)):
        Gallery(folder="x", file_system="s3-bucket/pictures").put("b.png", b"x")
    assert block.written == 0


PUTTING = """
import sys
from blocks.gallery import Gallery

gallery = Gallery(folder=sys.argv[1])
mine = sys.argv[2].encode() * 100_000
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    print(gallery.put(f"{number}.png", mine), flush=True)
"""


def test_processes_that_publish_under_one_name_at_once_lose_nothing(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PUTTING, str(tmp_path / "gallery"), letter],
            cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for letter in "abc"
    ]  # fmt: skip
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60)[0].split() for process in processes]
    for letter, paths in zip("abc", told, strict=True):
        assert len(paths) == 40
        for path in paths:
            assert Path(path).read_bytes() == letter.encode() * 100_000, path
    assert len(list((tmp_path / "gallery").iterdir())) == 3 * 40, "and no temporary file is left"


def test_a_folder_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on exFAT, which no test can mount: only the kernel's answer is put in its place."""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    gallery = Gallery(folder=str(tmp_path))
    assert [Path(gallery.put("b.png", content)).name for content in (b"one", b"two", b"one")] == [
        "b.png", "b-2.png", "b.png",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b-2.png", "b.png"]


@pytest.mark.usefixtures("prefect_server")
def test_a_block_that_holds_no_files_is_named() -> None:
    from prefect.blocks.system import Secret

    Secret(value="x").save("no-files", overwrite=True)
    with pytest.raises(ValueError, match="secret/no-files cannot hold files"):
        Gallery(folder="x", file_system="secret/no-files").put("b.png", b"x")


def test_a_default_that_is_not_valid_is_named_with_what_mends_it(prefect_server: None) -> None:
    """As the Prefect UI's form stores it, which takes any text."""
    Gallery(folder="pictures").save("default", overwrite=True)
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name("default", "gallery")
        client.update_block_document(document.id, BlockDocumentUpdate(data={"template": "{a-secret-word}"}))
    said: list[str] = []
    try:
        with pytest.raises(ValueError, match=r"gallery/default is not valid: .*delete it there") as caught:
            Gallery.chosen(None)
        ensure_blocks(None, said.append)  # all else is put into Prefect
        assert said == [str(caught.value)]
        assert "a-secret-word" not in said[0]
        picked = Gallery(folder="picked")
        assert Gallery.chosen(picked) is picked
    finally:
        Gallery.delete("default")
    ensure_blocks(None, said.append)
    assert said[-1].startswith("block gallery/default: ")
    Gallery.delete("default")
