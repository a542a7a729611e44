"""A job's whole way: deployment, scheduled run, pool, worker, flow, WebUI, pictures, artifacts, logs."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.e2e.conftest import House, until

SMALL = {"steps": 4, "width": 128, "height": 128, "seed": 100}
JOB: dict[str, Any] = {
    "name": "keeper",
    "checkpoint": "photo",
    "images": 2,
    "txt2img": {"prompt": "portrait of a lighthouse keeper", **SMALL, "width": 256, "height": 256},
    "img2img": {"denoising_strength": 0.3, "checkpoint": "oil"},
    "adetailer": [{"ad_model": "mediapipe_face_full"}],
    "upscale": {"upscaler": "Lanczos", "factor": 1.5},
}
STAGES = {"txt2img": "txt2img", "img2img": "img2img", "adetailer": "img2img", "upscale": "extra-single-image"}
PER_STAGE = 2


def published(house: House, job: str) -> list[Path]:
    return sorted(house.gallery.rglob(f"{job}-*.png"))


def test_a_job_through_the_deployment(house: House) -> None:
    house.webui.steps.step_time = 0.3  # long enough for two looks at each picture
    run = house.start(JOB | {"name": "whole"})
    ended = house.ends(run)
    assert ended["state_type"] == "COMPLETED", (ended["state"], house.logs(run)[-5:])
    assert ended["name"] == "whole"

    pictures = published(house, "whole")
    assert [path.stem for path in pictures] == ["whole-100-upscale", "whole-101-upscale"]
    for path in pictures:
        with Image.open(path) as image:
            assert image.size == (384, 384)
            infotext = image.info["parameters"]
        assert infotext.startswith("portrait of a lighthouse keeper\n")
        assert "ADetailer model: mediapipe_face_full" in infotext and "Postprocess upscaler: Lanczos" in infotext
        history = json.loads(path.with_suffix(".json").read_text())
        assert history["flow_run"] == run
        assert history["made_from"]["made_from"]["checkpoint"]["name"] == "oil"
        assert history["made_from"]["made_from"]["made_from"]["checkpoint"]["name"] == "photo"

    names = until(
        "what its last stage did is written down",
        lambda: told if "progress · upscale" in (told := house.task_names(run)) else None,
    )
    for name in ("txt2img 2/2 · seed 101", "adetailer 1/2 · seed 100", "switch to oil", "progress · img2img"):
        assert name in names
    assert sum(name.startswith("progress") for name in names) == 4, "one polling task per stage, not per picture"

    artifacts = house.artifacts(run)
    for stage in STAGES:
        assert artifacts[f"{stage}-progress"]["data"] == 100
    assert artifacts["job-progress"]["data"] == 100
    assert artifacts["contact-sheet"]["data"].count("data:image/jpeg;base64,") == 2
    assert "seed 101" in artifacts["contact-sheet"]["data"]
    assert [row["stage"] for row in json.loads(artifacts["timings"]["data"])] == list(STAGES)
    assert any("step " in line and " %" in line for line in house.logs(run)), "progress in the log"


@pytest.mark.parametrize("stage", STAGES)
def test_retry_after_a_failure_repeats_only_what_failed(house: House, stage: str) -> None:
    before = list(STAGES)[: list(STAGES).index(stage)]
    same_path_before = sum(PER_STAGE for earlier in before if STAGES[earlier] == STAGES[stage])
    # The second picture of the stage fails, with an error that no other try can mend.
    second = {"nth": 2} if stage == "upscale" else {"contains": f"-{stage}-2-"}
    house.arm(kind="error", like="out of memory", path=f"/sdapi/v1/{STAGES[stage]}", **second)
    name = f"retry-{stage}"
    run = house.start(JOB | {"name": name})
    failed = house.ends(run)
    assert failed["state_type"] == "FAILED"
    assert "out of memory" in failed["state"]["message"].lower()
    done = [endpoint for endpoint, _ in house.painted()]
    assert len(done) == PER_STAGE * len(before) + 2, "no second try at an error that is not transient"
    assert done.count(STAGES[stage]) == same_path_before + 2
    assert published(house, name) == []

    house.forget()
    house.retry(run)
    ended = house.ends(run)
    assert ended["state_type"] == "COMPLETED", house.logs(run)[-5:]
    assert ended["id"] == run
    again = [endpoint for endpoint, _ in house.painted()]
    later = list(STAGES)[list(STAGES).index(stage) + 1 :]
    assert len(again) == 1 + PER_STAGE * len(later), "what was done is not done again"
    assert len(published(house, name)) == PER_STAGE
    shown = [(one["key"], one["data"]) for one in house.all_artifacts(run) if str(one["key"]).endswith("-progress")]
    assert sorted(shown) == sorted((f"{one}-progress", 100) for one in ["job", *STAGES]), "none of the first attempt"


def test_a_passing_fault_is_tried_again_by_itself(house: House) -> None:
    house.arm(kind="drop", when="after", contains="-txt2img-1-")
    run = house.start({"name": "dropped", "checkpoint": "ink", "txt2img": {"prompt": "a castle", **SMALL}})
    assert house.ends(run)["state_type"] == "COMPLETED"
    assert [endpoint for endpoint, _ in house.painted()] == ["txt2img", "txt2img"]
    assert len(published(house, "dropped")) == 1


def test_a_wrong_name_fails_before_the_gpu(house: House) -> None:
    job = {"name": "wrong", "checkpoint": "ink", "txt2img": {"prompt": "x", **SMALL, "sampler_name": "euler a"}}
    run = house.start(job)
    ended = house.ends(run)
    assert ended["state_type"] == "FAILED"
    assert "no sampler 'euler a' (did you mean 'Euler a'" in ended["state"]["message"]
    assert house.painted() == []


def test_a_cancel_interrupts_the_webui_within_two_seconds(house: House) -> None:
    house.webui.steps.step_time = 0.2
    run = house.start(
        {"name": "cancelled", "checkpoint": "ink", "txt2img": {"prompt": "a boat", **SMALL, "steps": 150}}
    )
    until("painting", lambda: house.painted() and house.webui.state.sampling_step >= 2)
    house.is_in(run, "RUNNING")

    house.set_state(run, "CANCELLING")
    asked = time.monotonic()
    until("the WebUI is interrupted", lambda: house.webui.state.interrupted, 10)
    took = time.monotonic() - asked
    assert house.webui.wait_until_idle(10)
    assert house.ends(run)["state_type"] == "CANCELLED"
    assert took < 2 * 2, f"two seconds, with slack for two shared cores: {took:.2f}"
    assert published(house, "cancelled") == []


def test_the_next_job_runs_after_a_cancelled_one(house: House) -> None:
    house.webui.steps.step_time = 0.05
    first = house.start({"name": "first", "checkpoint": "ink", "txt2img": {"prompt": "x", **SMALL, "steps": 100}})
    until("the first one paints", lambda: len(house.painted()) == 1)
    second = house.start({"name": "second", "checkpoint": "ink", "txt2img": {"prompt": "y", **SMALL}})
    house.set_state(first, "CANCELLING")
    assert house.ends(second)["state_type"] == "COMPLETED"
    assert house.ends(first)["state_type"] == "CANCELLED"
    assert len(published(house, "second")) == 1


def test_a_saved_jobs_schedule_fires(house: House) -> None:
    saved = house.deployment("generate/nightly")
    job = {"name": "timetable", "checkpoint": "ink", "txt2img": {"prompt": "a moon", **SMALL}}
    house.call("PATCH", f"/deployments/{saved['id']}", {"parameters": {"job": job}})  # as the UI's form edits it
    soon = datetime.now(UTC) + timedelta(seconds=5)
    rule = {"schedule": {"interval": 86400, "anchor_date": soon.isoformat()}, "active": True, "slug": "soon"}
    [schedule] = house.call("POST", f"/deployments/{saved['id']}/schedules", [rule])
    try:
        until("a run by the schedule paints", lambda: published(house, "timetable"))
    finally:
        house.call("DELETE", f"/deployments/{saved['id']}/schedules/{schedule['id']}")
        house.call("PATCH", f"/deployments/{saved['id']}", {"parameters": saved["parameters"]})


def test_a_batch_goes_on_after_a_failure_and_its_retry_repeats_only_what_is_missing(
    house: House, tmp_path: Path
) -> None:
    jobs = [
        {"name": f"b{number}", "checkpoint": checkpoint, "txt2img": {"prompt": "a castle", **SMALL, "seed": number}}
        for number, checkpoint in enumerate(["ink", "oil", "ink", "oil"])
    ]
    file = tmp_path / "four.jsonl"
    file.write_text("\n".join(json.dumps(job) for job in jobs))
    house.arm(kind="error", like="out of memory", path="/sdapi/v1/txt2img", contains='"seed": 2,')
    run = house.start({}, "batch/batch", name="four", file=str(file))
    failed = house.ends(run)
    assert failed["state_type"] == "FAILED"
    assert "1 of 4 jobs failed" in failed["state"]["message"] and "b2: " in failed["state"]["message"]
    assert sorted(path.stem for path in house.gallery.rglob("b?-*.png")) == [
        "b0-0-txt2img",
        "b1-1-txt2img",
        "b3-3-txt2img",
    ]
    checkpoints = [body["override_settings"]["sd_model_checkpoint"] for _, body in house.painted()]
    assert len(set(checkpoints[:2])) == len(set(checkpoints[2:])) == 1, f"grouped by checkpoint: {checkpoints}"

    house.forget()
    house.retry(run)
    assert house.ends(run)["state_type"] == "COMPLETED", house.logs(run)[-5:]
    assert [body["seed"] for _, body in house.painted()] == [2]
    assert len(list(house.gallery.rglob("b?-*.png"))) == 4
    assert house.artifacts(run)["contact-sheet"]["data"].count("data:image/jpeg") == 4
    assert len(json.loads(house.artifacts(run)["batch"]["data"])) == 4
