"""The queue in a file, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from prefect.client.orchestration import SyncPrefectClient

from backlog import change, queue
from backlog.task import InvalidJob
from backlog.transfer import export_tasks, import_tasks
from flows.jobfile import keep_jobs
from store.settings import settings
from tests.backlog.conftest import job


def test_a_queue_comes_back_as_it_was(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "blue.png")
    queue.add(client, job("first"))
    pictures = {"init_images": [str(tmp_path / "red.png")], "img2img": {"prompt": "x"}, "txt2img": None}
    queue.add(client, job("second", **pictures), priority=4)
    moved = queue.add(client, job("third"), webui="webui/default")
    change.move(client, moved.id, "top")
    many = tmp_path / "many.jsonl"
    pictures["init_images"] = [str(tmp_path / "blue.png")]
    many.write_text(json.dumps(job("a", **pictures)) + "\n")
    queue.create(client, "batch/batch", "many", {"name": "many", "file": keep_jobs(str(many))})
    before = queue.waiting(client)
    assert [task.name for task in before] == ["third", "first", "many", "second"]
    file = tmp_path / "queue.json"
    assert export_tasks(client, file) == 4

    for task in before:
        change.delete(client, task.id)
    monkeypatch.setattr(settings(), "home", tmp_path / "another-machine")
    assert len(import_tasks(client, file)) == 4
    after = queue.waiting(client)
    kept = {"name", "params", "priority", "task_type", "position", "pictures", "prompt", "checkpoint"}
    assert [task.model_dump(include=kept) for task in after] == [task.model_dump(include=kept) for task in before]
    assert len(list((tmp_path / "another-machine" / "store").rglob("*.png"))) == 2
    assert export_tasks(client, tmp_path / "again.json") == 4
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(file.read_text())


def test_a_wrong_file_queues_nothing(client: SyncPrefectClient, tmp_path: Path) -> None:
    file = tmp_path / "queue.json"
    queue.add(client, job())
    export_tasks(client, file)
    change.delete(client, queue.waiting(client)[0].id)
    content = json.loads(file.read_text())
    second = {"name": "x", "flow": "generate", "parameters": {"job": {}}}
    for wrong, says in (
        (content | {"format": "another"}, "format"),
        (content | {"tasks": [*content["tasks"], second]}, "task 2, x: "),
        (content | {"files": {"00.png": "AAAA"}}, "damaged"),
        (content | {"files": {"00.png": "?"}}, "base64"),
        ("no", "an object"),
    ):
        file.write_text(json.dumps(wrong))
        with pytest.raises(InvalidJob, match=says):
            import_tasks(client, file)
    with pytest.raises(InvalidJob, match="No such file"):
        import_tasks(client, tmp_path / "nowhere.json")
    assert queue.waiting(client) == []
