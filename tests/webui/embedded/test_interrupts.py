"""Interrupt, skip, and clients that leave: nothing of it is an error, nothing is taken back."""

import base64
import io
import json

import requests
from PIL import Image
from talking import PATIENCE, SMALL

LONG = {"steps": 40}


def test_an_interrupt_gives_what_is_painted_so_far_as_if_it_were_done(webui) -> None:
    server = webui.server
    server.steps.hold()
    job = webui.in_background(**LONG)
    server.steps.advance(7)
    assert server.steps.wait_for(7, PATIENCE)
    assert webui.post("/sdapi/v1/interrupt").json() == {}
    answer = job.result(PATIENCE)
    server.steps.release()
    assert answer.status_code == 200
    assert "Steps: 40" in json.loads(answer.json()["info"])["infotexts"][0]
    told = webui.progress()["state"]
    assert told["interrupted"], "the only sign of it"
    assert server.steps.done == 8, "the step in work is finished"
    whole = webui.generate(**LONG).json()
    assert not webui.progress()["state"]["interrupted"]
    assert whole["images"][0] != answer.json()["images"][0]


def test_an_interrupted_series_has_fewer_pictures_than_seeds(webui) -> None:
    server = webui.server
    server.steps.hold()
    job = webui.in_background(n_iter=3, steps=4)
    server.steps.advance(5)
    assert server.steps.wait_for(1, PATIENCE, in_pass=2)
    webui.post("/sdapi/v1/interrupt")
    answer = job.result(PATIENCE).json()
    info = json.loads(answer["info"])
    assert (len(answer["images"]), len(info["infotexts"]), len(info["all_seeds"])) == (2, 2, 3)


def test_an_interrupt_before_the_job_begins_is_lost(webui) -> None:
    webui.post("/sdapi/v1/interrupt")
    assert webui.progress()["state"]["interrupted"]
    whole = webui.generate().json()["images"]
    assert not webui.progress()["state"]["interrupted"]
    assert whole == webui.generate().json()["images"]


def test_an_interrupt_hits_whatever_runs_and_never_the_queue(webui) -> None:
    server = webui.server
    expected = webui.generate().json()["images"]
    server.steps.hold()
    running = webui.in_background(**LONG)
    assert server.steps.wait_for(0, PATIENCE)
    queued = webui.in_background()
    assert server.job_queue.wait_for_waiting(1, PATIENCE)
    webui.post("/sdapi/v1/interrupt")
    server.steps.release()
    assert running.result(PATIENCE).status_code == 200
    assert queued.result(PATIENCE).json()["images"] == expected


def test_interrupted_before_its_first_step_a_job_gives_noise(webui) -> None:
    server = webui.server
    seen: list[bool] = []
    before = server.steps.begin_pass

    def interrupted() -> None:
        server.state.interrupt()
        seen.append(True)
        before()

    server.steps.begin_pass = interrupted  # type: ignore[method-assign]  # hits the one place in time
    try:
        answer = webui.generate()
    finally:
        server.steps.begin_pass = before  # type: ignore[method-assign]  # put back
    assert seen
    (encoded,) = answer.json()["images"]
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (64, 64)
    assert webui.progress()["state"]["sampling_steps"] == SMALL["steps"]


def test_skip_goes_on_with_the_next_picture(webui) -> None:
    server = webui.server
    whole = webui.generate(n_iter=2, steps=10).json()["images"]
    server.steps.hold()
    job = webui.in_background(n_iter=2, steps=10)
    server.steps.advance(3)
    assert server.steps.wait_for(3, PATIENCE)
    answer = webui.post("/sdapi/v1/skip")
    assert (answer.status_code, answer.json()) == (200, None)
    server.steps.release()
    images = job.result(PATIENCE).json()["images"]
    assert images[0] != whole[0]
    assert images[1] == whole[1]
    assert not webui.progress()["state"]["skipped"]


def test_clients_that_leave_cancel_nothing(webui) -> None:
    server = webui.server
    server.steps.hold()
    running = webui.in_background(force_task_id="task(left-1)")
    assert server.steps.wait_for(0, PATIENCE)
    try:
        body = {**SMALL, "force_task_id": "task(left-2)"}
        requests.post(f"{server.url}/sdapi/v1/txt2img", json=body, timeout=0.3)
        raise AssertionError("the sampler was held")
    except requests.Timeout:
        pass
    assert webui.task("task(left-2)")["queued"]
    server.steps.release()
    running.result(PATIENCE)
    assert server.wait_until_idle(PATIENCE)
    assert webui.task("task(left-1)")["completed"]
    assert webui.task("task(left-2)")["completed"]
