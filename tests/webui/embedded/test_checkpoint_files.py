"""Checkpoints as files: listed, hashed when first loaded, refreshed, failing."""

import hashlib

import pytest
from talking import PATIENCE

from webui.embedded.checkpoints import write_checkpoint


@pytest.fixture
def webui(start):
    return start()


def folder(webui):
    return webui.server.engine.checkpoints_folder


def listed(webui) -> dict[str, dict]:
    return {model["model_name"]: model for model in webui.get("/sdapi/v1/sd-models").json()}


def use(webui, name: str):
    return webui.generate(override_settings={"sd_model_checkpoint": name})


def test_no_hash_before_the_first_load(webui) -> None:
    before = listed(webui)["oil"]
    assert (before["title"], before["hash"], before["sha256"]) == ("oil.safetensors", None, None)
    assert list(listed(webui)) == ["ink", "oil", "photo", "watercolour"]
    use(webui, "oil")
    after = listed(webui)["oil"]
    sha256 = hashlib.sha256((folder(webui) / "oil.safetensors").read_bytes()).hexdigest()
    assert after == {
        "title": f"oil.safetensors [{sha256[:10]}]",
        "model_name": "oil",
        "hash": sha256[:10],
        "sha256": sha256,
        "filename": str(folder(webui) / "oil.safetensors"),
        "config": None,
    }
    assert list(listed(webui)) == ["ink", "oil", "photo", "watercolour"], "it keeps its place"


def test_hashes_are_kept_over_a_restart_until_the_file_changes(start, tmp_path) -> None:
    first = start(folder=tmp_path / "kept")
    use(first, "oil")
    first.server.stop()
    second = start(folder=tmp_path / "kept")
    assert listed(second)["oil"]["hash"]
    second.server.stop()
    write_checkpoint(folder(second) / "oil.safetensors", "another style")
    assert listed(start(folder=tmp_path / "kept"))["oil"]["hash"] is None


def test_a_new_file_is_unseen_until_a_refresh(webui) -> None:
    write_checkpoint(folder(webui) / "sub" / "new one.safetensors")
    assert "sub_new one" not in listed(webui)
    answer = webui.post("/sdapi/v1/options", {"sd_model_checkpoint": "new one"})
    assert answer.json()["message"] == "model 'new one' not found"
    assert webui.post("/sdapi/v1/refresh-checkpoints").json() is None
    assert listed(webui)["sub_new one"]["title"] == "sub/new one.safetensors"
    assert webui.info(override_settings={"sd_model_checkpoint": "new one"})["sd_model_name"] == "new one"


def test_a_checkpoint_is_visible_in_the_picture(webui) -> None:
    pictures = {name: use(webui, name).json()["images"][0] for name in ("oil", "ink")}
    assert pictures["oil"] != pictures["ink"]


def test_a_refresh_waits_behind_the_running_job_and_lists_do_not(webui, pool) -> None:
    webui.server.steps.hold()
    job = webui.in_background()
    assert webui.server.steps.wait_for(0, PATIENCE)
    refresh = pool.submit(webui.post, "/sdapi/v1/refresh-checkpoints")
    assert webui.server.job_queue.wait_for_waiting(1, PATIENCE)
    assert listed(webui)
    assert webui.post("/sdapi/v1/reload-checkpoint").json() == {}
    assert not refresh.done()
    webui.server.steps.release()
    assert refresh.result(PATIENCE).status_code == 200
    job.result(PATIENCE)


def test_loading_takes_its_time_and_progress_stands_still(start) -> None:
    slow = start(load_time=0.4)
    job = slow.in_background(force_task_id="task(load)")
    assert slow.server.job_queue.wait_for_job(1, PATIENCE)
    seen = set()
    while not job.done():
        state = slow.progress()
        if state["state"]["job_count"] == -1:
            seen.add((state["progress"], slow.task("task(load)")["progress"]))
    assert seen <= {(0.01, 0.0), (0.01, None)}
    assert (0.01, 0.0) in seen
    (turn,) = slow.server.job_queue.records
    assert turn.end - turn.start >= 0.4
    assert (turn.loaded, turn.checkpoint) == (True, "photo")
    slow.generate()
    assert not slow.server.job_queue.records[-1].loaded


def test_an_unreadable_file_fails_and_takes_the_last_good_one_with_it(webui) -> None:
    broken = folder(webui) / "broken.safetensors"
    broken.write_bytes(b"this is no checkpoint at all")
    webui.post("/sdapi/v1/refresh-checkpoints")
    assert webui.generate().status_code == 200
    failed = use(webui, "broken")
    assert (failed.status_code, failed.json()["error"]) == (500, "ValueError")
    assert "Error while deserializing header" in failed.json()["message"]
    assert not broken.exists()
    assert broken.with_name("broken.safetensors.corrupted").exists()
    lost = webui.generate()
    assert lost.json()["message"] == "'NoneType' object has no attribute 'sd_checkpoint_info'"
    assert use(webui, "oil").status_code == 200
    assert webui.generate().status_code == 200


def test_vae_files_are_modules(webui) -> None:
    assert webui.get("/sdapi/v1/sd-modules").json() == []
    path = write_checkpoint(webui.server.engine.modules_folder / "warm.safetensors")
    assert webui.get("/sdapi/v1/sd-modules").json() == [{"model_name": "warm.safetensors", "filename": str(path)}]
    plain = webui.generate().json()["images"]
    modules = {"forge_additional_modules": [str(path), "no such file"]}
    named = webui.generate(override_settings=modules)
    assert named.json()["images"] != plain
    assert "Module 1: warm" in named.json()["info"]
    assert webui.server.options.forge_additional_modules == ["warm.safetensors"], "it sticks"
