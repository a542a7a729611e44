"""Each fault at each stage: what is lost (nothing), what is painted twice (at most the picture on the GPU), and how
soon it goes on. `make matrix` runs it all and writes docs/night.md; `pytest --matrix one` runs one stage a fault.
"""

from __future__ import annotations

import random
import time
from functools import partial
from typing import Any

import pytest
import requests

from tests.night.conftest import Holder, Record
from tests.night.faults import FAULTS
from tests.night.rig import STAGES, Night, pause
from tests.night.strangers import Strangers
from tests.rest import FINAL
from tests.waiting import until

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(580)]

PICTURES = 2
STEP = 0.2  # seconds
SAMPLING = {"steps": 8, "width": 256, "height": 256, "seed": 100}  # large enough for ADetailer to find a face
SMALL = {"steps": 4, "width": 64, "height": 64, "seed": 1}
RESUMES_WITHIN = 90.0  # seconds from the end of a fault's cause to the run's next picture
RETRIES_WITHIN = 5.0  # the same from a click on Retry
CANCELS = 100
IDLE_WITHIN = 2.0  # seconds from a cancel to a WebUI that paints nothing of ours


def job_up_to(stage: str, name: str) -> dict[str, Any]:
    """A job of all stages up to ``stage``, so that what is done before a fault is there to be lost.

    Its pictures are no other job's: the name is part of their prompt.
    """
    job: dict[str, Any] = {
        "name": name,
        "checkpoint": "photo",
        "images": PICTURES,
        "txt2img": {"prompt": f"portrait of a lighthouse keeper, {name}", **SAMPLING},
        "img2img": {"denoising_strength": 0.5},
        "adetailer": [{"ad_model": "mediapipe_face_full"}],
        "upscale": {"upscaler": "Lanczos", "factor": 1.5},
    }
    for later in STAGES[STAGES.index(stage) + 1 :]:
        del job[later]
    return job


@pytest.mark.parametrize(("fault", "stage"), [(name, stage) for name in FAULTS for stage in FAULTS[name].stages])
def test_a_fault_loses_nothing(night: Night, holder: Holder, record: Record, fault: str, stage: str) -> None:
    about = FAULTS[fault]
    row: dict[str, Any] = {"ended": "has not ended"}
    record(fault, stage, row)
    name = f"m{len(night.requests.asked)}"
    job = job_up_to(stage, name)
    if fault == "a checkpoint can't be loaded":
        job |= {"checkpoint": "oil"} if stage == "txt2img" else {"img2img": {"checkpoint": "oil"}}
    else:
        night.webui.steps.step_time = STEP
    about.arm(night, stage)
    if stage == "upscale" and about.step and fault != "an answer never comes":
        # An upscale takes no time here; there must be one to strike in.
        night.arm(kind="slow", seconds=3, path="/sdapi/v1/extra-single-image", nth=about.picture)

    run = night.start(job)
    night.is_painting(run, stage, about.picture, step=about.step)
    about.strike(night, run, stage)
    gone, within = time.monotonic(), RESUMES_WITHIN
    following = night.start({"name": f"{name}-next", "checkpoint": "photo", "txt2img": {"prompt": "x", **SMALL}})
    state = night.settled(run, finals=about.finals)
    row["ended"] = state["state_name"]
    assert state["state_type"] in about.finals, state["state"]["message"]
    assert night.settled(following)["state_type"] == "COMPLETED", "the run behind it"
    if state["state_type"] != "COMPLETED":
        gone, within = time.monotonic(), RETRIES_WITHIN
        night.retry(run)
        state = night.settled(run)
        row["ended"] += f", {state['state_name']} after Retry"
        assert state["state_type"] == "COMPLETED", state["state"]["message"]

    pictures = night.published(name)
    row["lost"] = PICTURES - len([one for one in pictures if "next" not in one])
    row["painted twice"] = len(night.asked_by(run)) - PICTURES * (STAGES.index(stage) + 1)
    again = [one.at for one in night.asked_by(run) if one.at > gone]
    row["seconds"] = round(again[0] - gone, 1) if again else None
    assert row["lost"] == 0, pictures
    assert row["painted twice"] <= 1, [one.task or one.stage for one in night.asked_by(run)]
    assert not again or row["seconds"] <= within
    until(f"nothing is left behind: {night.left_behind()}", lambda: not night.left_behind(), 30)
    row["holds"] = holder.in_order = True


@pytest.mark.parametrize("stage", STAGES)
def test_a_stranger_is_waited_for_and_not_touched(night: Night, holder: Holder, record: Record, stage: str) -> None:
    row: dict[str, Any] = {"ended": "has not ended"}
    record("a stranger's job runs", stage, row)
    name = f"s{len(night.requests.asked)}"
    with Strangers(night, every=0.1, steps=12) as strangers:
        night.webui.steps.step_time = 0.05
        run = night.start(job_up_to(stage, name))
        state = night.settled(run)
    row["ended"] = state["state_name"]
    row["lost"] = PICTURES - len(night.published(name))
    row["painted twice"] = len(night.asked_by(run)) - PICTURES * (STAGES.index(stage) + 1)
    row["seconds"] = None
    assert state["state_type"] == "COMPLETED", state["state"]["message"]
    assert (row["lost"], row["painted twice"]) == (0, 0)
    assert set(strangers.outcomes) == {"whole"}, strangers.outcomes
    row["holds"] = holder.in_order = True


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_that_cannot_be_given_back_are_refused(
    night: Night, holder: Holder, record: Record, stage: str
) -> None:
    """Half an emoji in a text is valid in JSON, and no database can give it back as UTF-8."""
    row: dict[str, Any] = {"ended": "not refused"}
    record("poison parameters", stage, row)
    job, poison = job_up_to(stage, "poison"), "half an emoji \ud83d"
    field = {"txt2img": "prompt", "img2img": "prompt", "upscale": "upscaler"}.get(stage)
    if field:
        job[stage] = job[stage] | {field: poison}
    else:
        job[stage] = [job[stage][0] | {"ad_prompt": poison}]
    body = {"parameters": {"job": job}, "state": {"type": "SCHEDULED"}}
    address = f"{night.api}/deployments/{night.deployment()['id']}/create_flow_run"
    answer = requests.post(address, json=body, timeout=60)
    row["ended"] = f"answered {answer.status_code}"
    began = time.monotonic()
    following = night.start({"name": "after-poison", "checkpoint": "photo", "txt2img": {"prompt": "x", **SMALL}})
    state = night.settled(following, within=30)
    row |= {"lost": 0, "painted twice": 0, "seconds": round(time.monotonic() - began, 1)}
    assert state["state_type"] == "COMPLETED", "the run behind it"
    assert 400 <= answer.status_code < 500, answer.text[:300]
    row["holds"] = holder.in_order = True


@pytest.mark.timeout(1500)
def test_the_webui_is_free_soon_after_each_of_many_cancels(night: Night, holder: Holder, record: Record) -> None:
    """At random moments under a steady stream of strangers' jobs, none of which may be touched."""
    row: dict[str, Any] = {"ended": "has not ended"}
    record(f"{CANCELS} cancels under strangers' jobs", "txt2img", row)
    chance, took = random.Random(10), list[float]()
    with Strangers(night, every=0.02) as strangers:
        night.webui.steps.step_time = 0.02
        for number in range(CANCELS):
            job = {"name": f"c{number}", "checkpoint": "photo", "txt2img": {"prompt": "x", **SMALL, "steps": 150}}
            run = night.start(job)
            if number % 5:  # else before it paints
                until("it paints", partial(night.asked_by, run))
            pause(chance.uniform(0, 1.5))
            night.set_state(run, "CANCELLING")
            took.append(painted_after_cancel(night, run))
        night.webui.steps.step_time = 0.0
    row["ended"] = f"strangers' jobs: {dict(strangers.outcomes)}"
    row |= {"lost": 0, "painted twice": 0, "seconds": round(max(took), 1)}
    assert set(strangers.outcomes) == {"whole"}, strangers.outcomes
    assert max(took) <= IDLE_WITHIN, sorted(took)[-5:]
    row["holds"] = holder.in_order = True


def painted_after_cancel(night: Night, run: str) -> float:
    """Seconds for which the WebUI still painted for a run that was just cancelled; returns when the run has ended."""
    cancelled = last = time.monotonic()

    def look() -> str | None:
        nonlocal last
        if str(night.webui.tasks.current).startswith(f"task(darkroom-{run[:8]}-"):
            last = time.monotonic()
        kind = night.run(run)["state_type"]
        return kind if kind in FINAL else None

    assert until("it is cancelled", look) == "CANCELLED"
    return last - cancelled
