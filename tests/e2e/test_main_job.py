"""A job's whole way: deployment, scheduled run, pool, worker, flow, WebUI, pictures, artifacts, logs."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.up import Up
from tests.waiting import until

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


def published(darkroom: Up, job: str) -> list[Path]:
    return sorted(darkroom.gallery.rglob(f"{job}-*.png"))


def test_a_job_through_the_deployment(darkroom: Up) -> None:
    darkroom.webui.steps.step_time = 0.3  # long enough for two looks at each picture
    run = darkroom.start(JOB | {"name": "whole"})
    ended = darkroom.ends(run)
    assert ended["state_type"] == "COMPLETED", (ended["state"], darkroom.logs(run)[-5:])
    assert ended["name"] == "whole"

    pictures = published(darkroom, "whole")
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
        lambda: told if "progress · upscale" in (told := darkroom.task_names(run)) else None,
    )
    for name in ("txt2img 2/2 · seed 101", "adetailer 1/2 · seed 100", "switch to oil", "progress · img2img"):
        assert name in names
    assert sum(name.startswith("progress") for name in names) == 4, "one polling task per stage, not per picture"

    artifacts = darkroom.artifacts(run)
    for stage in STAGES:
        assert artifacts[f"{stage}-progress"]["data"] == 100
    assert artifacts["job-progress"]["data"] == 100
    assert artifacts["contact-sheet"]["data"].count("data:image/jpeg;base64,") == 2
    assert "seed 101" in artifacts["contact-sheet"]["data"]
    assert [row["stage"] for row in json.loads(artifacts["timings"]["data"])] == list(STAGES)
    assert any("step " in line and " %" in line for line in darkroom.logs(run)), "progress in the log"


@pytest.mark.parametrize("stage", STAGES)
def test_retry_after_a_failure_repeats_only_what_failed(darkroom: Up, stage: str) -> None:
    before = list(STAGES)[: list(STAGES).index(stage)]
    same_path_before = sum(PER_STAGE for earlier in before if STAGES[earlier] == STAGES[stage])
    # The second picture of the stage fails, with an error that no other try can mend.
    second = {"nth": 2} if stage == "upscale" else {"contains": f"-{stage}-2-"}
    darkroom.arm(kind="error", like="out of memory", path=f"/sdapi/v1/{STAGES[stage]}", **second)
    name = f"retry-{stage}"
    run = darkroom.start(JOB | {"name": name})
    failed = darkroom.ends(run)
    assert failed["state_type"] == "FAILED"
    assert "out of memory" in failed["state"]["message"].lower()
    done = [endpoint for endpoint, _ in darkroom.painted()]
    assert len(done) == PER_STAGE * len(before) + 2, "no second try at an error that is not transient"
    assert done.count(STAGES[stage]) == same_path_before + 2
    assert len(published(darkroom, name)) == (stage == "upscale"), "what is through its last stage"

    darkroom.forget()
    darkroom.retry(run)
    ended = darkroom.ends(run)
    assert ended["state_type"] == "COMPLETED", darkroom.logs(run)[-5:]
    assert ended["id"] == run
    again = [endpoint for endpoint, _ in darkroom.painted()]
    later = list(STAGES)[list(STAGES).index(stage) + 1 :]
    assert len(again) == 1 + PER_STAGE * len(later), "what was done is not done again"
    assert len(published(darkroom, name)) == PER_STAGE
    shown = [(one["key"], one["data"]) for one in darkroom.all_artifacts(run) if str(one["key"]).endswith("-progress")]
    assert sorted(shown) == sorted((f"{one}-progress", 100) for one in ["job", *STAGES]), "none of the first attempt"


def test_a_passing_fault_is_tried_again_by_itself(darkroom: Up) -> None:
    darkroom.arm(kind="drop", when="after", contains="-txt2img-1-")
    run = darkroom.start({"name": "dropped", "checkpoint": "ink", "txt2img": {"prompt": "a castle", **SMALL}})
    assert darkroom.ends(run)["state_type"] == "COMPLETED"
    assert [endpoint for endpoint, _ in darkroom.painted()] == ["txt2img", "txt2img"]
    assert len(published(darkroom, "dropped")) == 1


def test_a_wrong_name_fails_before_the_gpu(darkroom: Up) -> None:
    job = {"name": "wrong", "checkpoint": "ink", "txt2img": {"prompt": "x", **SMALL, "sampler_name": "euler a"}}
    run = darkroom.start(job)
    ended = darkroom.ends(run)
    assert ended["state_type"] == "FAILED"
    assert "no sampler 'euler a' (did you mean 'Euler a'" in ended["state"]["message"]
    assert darkroom.painted() == []


def test_a_cancel_interrupts_the_webui_within_two_seconds(darkroom: Up) -> None:
    darkroom.webui.steps.step_time = 0.2
    run = darkroom.start(
        {"name": "cancelled", "checkpoint": "ink", "txt2img": {"prompt": "a boat", **SMALL, "steps": 150}}
    )
    until("painting", lambda: darkroom.painted() and darkroom.webui.state.sampling_step >= 2)
    darkroom.is_in(run, "RUNNING")

    darkroom.set_state(run, "CANCELLING")
    asked = time.monotonic()
    until("the WebUI is interrupted", lambda: darkroom.webui.state.interrupted, 10)
    took = time.monotonic() - asked
    assert darkroom.webui.wait_until_idle(10)
    assert darkroom.ends(run)["state_type"] == "CANCELLED"
    assert took < 2 * 2, f"two seconds, with slack for two shared cores: {took:.2f}"
    assert published(darkroom, "cancelled") == []
    until("the log says why it ended", lambda: "Flow run was cancelled." in darkroom.logs(run))
    assert not [line for line in darkroom.logs(run) if "Crash" in line or "Running()" in line], "a cancel is no crash"


def test_the_next_job_runs_after_a_cancelled_one(darkroom: Up) -> None:
    darkroom.webui.steps.step_time = 0.2
    first = darkroom.start({"name": "first", "checkpoint": "ink", "txt2img": {"prompt": "x", **SMALL, "steps": 100}})
    until("the first one paints", lambda: len(darkroom.painted()) == 1)
    second = darkroom.start({"name": "second", "checkpoint": "ink", "txt2img": {"prompt": "y", **SMALL}})
    darkroom.set_state(first, "CANCELLING")
    assert darkroom.ends(second)["state_type"] == "COMPLETED"
    assert darkroom.ends(first)["state_type"] == "CANCELLED"
    assert len(published(darkroom, "second")) == 1


def test_a_saved_jobs_schedule_fires(darkroom: Up) -> None:
    saved = darkroom.deployment("generate/nightly")
    job = {"name": "timetable", "checkpoint": "ink", "txt2img": {"prompt": "a moon", **SMALL}}
    darkroom.call("PATCH", f"/deployments/{saved['id']}", {"parameters": {"job": job}})  # as the UI's form edits it
    soon = datetime.now(UTC) + timedelta(seconds=5)
    rule = {"schedule": {"interval": 86400, "anchor_date": soon.isoformat()}, "active": True, "slug": "soon"}
    [schedule] = darkroom.call("POST", f"/deployments/{saved['id']}/schedules", [rule])
    try:
        until("a run by the schedule paints", lambda: published(darkroom, "timetable"))
    finally:
        darkroom.call("DELETE", f"/deployments/{saved['id']}/schedules/{schedule['id']}")
        darkroom.call("PATCH", f"/deployments/{saved['id']}", {"parameters": saved["parameters"]})


def test_a_batch_goes_on_after_a_failure_and_its_retry_repeats_only_what_is_missing(darkroom: Up) -> None:
    jobs = [
        {"name": f"b{number}", "checkpoint": checkpoint, "txt2img": {"prompt": "a castle", **SMALL, "seed": number}}
        for number, checkpoint in enumerate(["ink", "oil", "ink", "oil"])
    ]
    file = darkroom.home / "inputs" / "four.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(json.dumps(job) for job in jobs))
    darkroom.arm(kind="error", like="out of memory", path="/sdapi/v1/txt2img", contains='"seed": 2,')
    run = darkroom.start({}, "batch/batch", name="four", file=str(file))
    failed = darkroom.ends(run)
    assert failed["state_type"] == "FAILED"
    assert "1 of 4 jobs failed" in failed["state"]["message"] and "b2: " in failed["state"]["message"]
    assert sorted(path.stem for path in darkroom.gallery.rglob("b?-*.png")) == [
        "b0-0-txt2img",
        "b1-1-txt2img",
        "b3-3-txt2img",
    ]
    checkpoints = [body["override_settings"]["sd_model_checkpoint"] for _, body in darkroom.painted()]
    assert len(set(checkpoints[:2])) == len(set(checkpoints[2:])) == 1, f"grouped by checkpoint: {checkpoints}"

    darkroom.forget()
    darkroom.retry(run)
    assert darkroom.ends(run)["state_type"] == "COMPLETED", darkroom.logs(run)[-5:]
    assert [body["seed"] for _, body in darkroom.painted()] == [2]
    assert len(list(darkroom.gallery.rglob("b?-*.png"))) == 4
    assert darkroom.artifacts(run)["contact-sheet"]["data"].count("data:image/jpeg") == 4
    assert len(json.loads(darkroom.artifacts(run)["batch"]["data"])) == 4
