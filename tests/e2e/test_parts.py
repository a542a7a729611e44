"""What a run and a user feel when a part of `darkroom up` dies, and what our Prefect server spares them."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
import requests

from tests.up import Up
from tests.waiting import until

TXT2IMG = {"prompt": "a castle", "steps": 20, "width": 64, "height": 64, "seed": 5}
JOB: dict[str, Any] = {"checkpoint": "photo", "images": 1, "txt2img": TXT2IMG}


def part(darkroom: Up, number: int) -> int:
    """The process id of a part: 0 the Prefect server, 1 the worker, 2 the gateway."""
    return json.loads((darkroom.home / "up.json").read_text())["processes"][number][0]


def paints(darkroom: Up) -> bool:
    answer = requests.get(f"{darkroom.webui.url}/sdapi/v1/progress", timeout=10)
    return answer.json()["state"]["sampling_step"] > 0


@pytest.mark.parametrize(("name", "number"), [("the worker", 1), ("the Prefect server", 0)])
def test_a_run_under_way_lives_through_the_death_of_a_part(darkroom: Up, name: str, number: int) -> None:
    darkroom.webui.steps.step_time = 0.2
    run = darkroom.start(JOB | {"name": "survivor"})
    until("it paints", lambda: paints(darkroom))
    died = part(darkroom, number)
    os.kill(died, signal.SIGKILL)
    until("it is started again", lambda: part(darkroom, number) != died)
    until("the API answers", lambda: _healthy(darkroom))
    ended = darkroom.ends(run)
    assert ended["state_type"] == "COMPLETED", (ended["state"], darkroom.logs(run)[-5:])
    assert len(darkroom.painted()) == 1
    assert f"{name} was killed by signal 9: started again in 1 s" in darkroom.log.read_text()
    assert darkroom.ends(darkroom.start(JOB | {"name": "next"}))["state_type"] == "COMPLETED"


def _healthy(darkroom: Up) -> bool:
    try:
        return requests.get(f"{darkroom.api}/health", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_a_run_that_a_dead_worker_left_can_be_cancelled(darkroom: Up) -> None:
    darkroom.webui.steps.step_time = 0.5
    run = darkroom.start(JOB | {"name": "left"})
    until("it paints", lambda: paints(darkroom))
    died = part(darkroom, 1)
    os.kill(died, signal.SIGKILL)
    until("it is started again", lambda: part(darkroom, 1) != died)
    darkroom.set_state(run, "CANCELLING")
    darkroom.is_in(run, "CANCELLED")  # by way of Crashed, which its process reports when it is terminated
    assert darkroom.webui.wait_until_idle(10)


@pytest.mark.parametrize("poison", [r'"half an emoji: \ud83d"', str(2**70)])
def test_a_run_that_prefect_could_not_return_does_not_stop_the_queue(darkroom: Up, poison: str) -> None:
    answer = requests.post(
        f"{darkroom.api}/deployments/{darkroom.deployment()['id']}/create_flow_run",
        data=f'{{"parameters": {{"job": {{"extra": {poison}}}}}, "enforce_parameter_schema": false}}',
        headers={"Content-Type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 422, answer.text
    assert "could not return it" in answer.json()["detail"]
    assert darkroom.call("POST", "/flow_runs/filter", {"limit": 5}) is not None
    assert darkroom.ends(darkroom.start(JOB | {"name": "after"}))["state_type"] == "COMPLETED"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("times", [2, pytest.param(10, marks=pytest.mark.long)])
def test_a_retry_right_after_a_cancel_works_each_time(darkroom: Up, times: int) -> None:
    for number in range(times):
        darkroom.webui.steps.step_time = 0.5  # the cancel finds it painting
        run = darkroom.start(JOB | {"name": f"again-{number}"})
        until("it paints", lambda: paints(darkroom))
        darkroom.set_state(run, "CANCELLING")
        assert darkroom.ends(run)["state_type"] == "CANCELLED"
        darkroom.webui.steps.step_time = 0.0
        darkroom.retry(run)
        ended = darkroom.ends(run)
        assert ended["state_type"] == "COMPLETED", (number, ended["state"])
