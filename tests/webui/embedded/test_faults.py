"""Every fault, armed over HTTP and seen by a client."""

from __future__ import annotations

import base64
import io
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from processes import start_process
from pydantic import TypeAdapter

from tests.waiting import until
from webui.embedded.faults import CRASH_EXIT_CODE, AnyFault
from webui.embedded.server import EmbeddedWebUI

TINY = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}
PATIENCE = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedWebUI]:
    with EmbeddedWebUI(folder=tmp_path_factory.mktemp("webui"), faults=True) as running:
        yield running


@pytest.fixture(autouse=True)
def disarmed(server: EmbeddedWebUI) -> Iterator[None]:
    yield
    requests.delete(f"{server.url}/faults", timeout=PATIENCE)


def arm(server: EmbeddedWebUI, **fault: Any) -> dict[str, Any]:
    answer = requests.post(f"{server.url}/faults", json=fault, timeout=PATIENCE)
    assert answer.status_code == 201, answer.text
    return answer.json()


def job(server: EmbeddedWebUI, **changes: Any) -> requests.Response:
    return requests.post(f"{server.url}/sdapi/v1/txt2img", json=TINY | changes, timeout=PATIENCE)


def jobs_run(server: EmbeddedWebUI) -> int:
    return server.job_queue.begun


def test_error_hits_the_nth_match_only(server: EmbeddedWebUI) -> None:
    arm(server, kind="error", like="out of memory", nth=2)
    answers = [job(server) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 500, 200]
    assert set(answers[1].json()) == {"error", "detail", "body", "message"}
    assert answers[1].json()["error"] == "OutOfMemoryError"
    (reported,) = requests.get(f"{server.url}/faults", timeout=PATIENCE).json()
    assert (reported["matched"], reported["fired"]) == (3, 1)


def test_error_may_have_any_body_and_hit_for_ever(server: EmbeddedWebUI) -> None:
    arm(server, kind="error", status=404, body={"detail": "Sampler not found"}, times=None)
    assert [job(server).status_code for _ in range(3)] == [404] * 3


def test_nan(server: EmbeddedWebUI) -> None:
    arm(server, kind="error", like="nan")
    assert job(server).json()["error"] == "NansException"


def test_error_after_the_work_loses_the_answer(server: EmbeddedWebUI) -> None:
    before = jobs_run(server)
    arm(server, kind="error", like="nan", when="after")
    assert job(server).status_code == 500
    assert jobs_run(server) == before + 1


def test_fault_can_name_one_job(server: EmbeddedWebUI) -> None:
    arm(server, kind="error", like="nan", contains="task(mine)")
    assert job(server, force_task_id="task(other)").status_code == 200
    assert job(server, force_task_id="task(mine)").status_code == 500


def test_drop_before_and_after_the_work(server: EmbeddedWebUI) -> None:
    before = jobs_run(server)
    arm(server, kind="drop")
    with pytest.raises(requests.ConnectionError):
        job(server)
    assert jobs_run(server) == before
    arm(server, kind="drop", when="after")
    with pytest.raises(requests.ConnectionError):
        job(server)
    assert jobs_run(server) == before + 1


def test_hang_until_the_client_leaves(server: EmbeddedWebUI) -> None:
    arm(server, kind="hang", path="/internal/ping", times=None)
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{server.url}/internal/ping", timeout=0.3)
    assert requests.get(f"{server.url}/sdapi/v1/samplers", timeout=PATIENCE).ok


def test_hang_until_disarmed(server: EmbeddedWebUI) -> None:
    fault = arm(server, kind="hang")
    answers: list[requests.Response] = []
    client = threading.Thread(target=lambda: answers.append(job(server)))
    client.start()
    until("it has fired", lambda: requests.get(f"{server.url}/faults", timeout=PATIENCE).json()[0]["fired"] == 1)
    assert client.is_alive()
    requests.delete(f"{server.url}/faults/{fault['id']}", timeout=PATIENCE)
    client.join(PATIENCE)
    assert answers[0].status_code == 200


def test_slow(server: EmbeddedWebUI) -> None:
    arm(server, kind="slow", seconds=0.5, path="/internal/ping")
    started = time.monotonic()
    assert requests.get(f"{server.url}/internal/ping", timeout=PATIENCE).ok
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize("how", ["truncated", "corrupt"])
def test_broken_image(server: EmbeddedWebUI, how: str) -> None:
    arm(server, kind="image", how=how)
    broken, whole = (base64.b64decode(job(server).json()["images"][0]) for _ in range(2))
    Image.open(io.BytesIO(whole)).load()
    assert broken.startswith(b"\x89PNG")
    with pytest.raises((OSError, SyntaxError)):
        picture = Image.open(io.BytesIO(broken))
        picture.verify()
        Image.open(io.BytesIO(broken)).load()


@pytest.mark.parametrize("how", ["stuck", "backwards"])
def test_progress(server: EmbeddedWebUI, how: str) -> None:
    def progress() -> float:
        return requests.get(f"{server.url}/sdapi/v1/progress", timeout=PATIENCE).json()["progress"]

    def step(**body: Any) -> None:
        requests.post(f"{server.url}/faults/steps", json=body, timeout=PATIENCE).raise_for_status()

    step(mode="manual")
    running = threading.Thread(target=job, args=(server,), kwargs={"steps": 10})
    running.start()
    step(advance=4)
    assert server.steps.wait_for(4, PATIENCE)
    honest = progress()
    arm(server, kind="progress", how=how)
    seen = [progress()]
    for done in (5, 6):
        step(advance=1)
        assert server.steps.wait_for(done, PATIENCE)
        seen.append(progress())
    if how == "stuck":
        assert seen == [honest] * 3
    else:
        assert seen[0] > seen[1] > seen[2]
    step(mode="immediate")
    running.join(PATIENCE)


def test_wrong_model_is_told_by_info_alone(server: EmbeddedWebUI) -> None:
    names = [model["model_name"] for model in models(server)]
    asked, other = names[0], names[1]
    arm(server, kind="wrong model", asked=f"{asked}*", loads=f"{other}.safetensors")
    job(server, steps=1, override_settings={"sd_model_checkpoint": other})
    answer = job(server, steps=1, override_settings={"sd_model_checkpoint": asked})
    assert answer.status_code == 200
    assert f"Model: {other}" in answer.json()["info"]


def test_load_failure_leaves_the_server_as_a_real_one(server: EmbeddedWebUI) -> None:
    """Facts 10: the checkpoint that worked before answers 500 until a different one loads."""
    good, bad, third = (model["model_name"] for model in models(server)[:3])

    def paint(name: str) -> requests.Response:
        return job(server, steps=1, override_settings={"sd_model_checkpoint": name})

    assert paint(good).status_code == 200
    arm(server, kind="load failure", asked=f"{bad}*")
    assert paint(bad).status_code == 500
    broken = paint(good)
    assert broken.status_code == 500
    assert "sd_checkpoint_info" in broken.json()["message"]
    assert paint(third).status_code == 200
    assert paint(good).status_code == 200


def models(server: EmbeddedWebUI) -> list[dict[str, Any]]:
    return requests.get(f"{server.url}/sdapi/v1/sd-models", timeout=PATIENCE).json()


def test_crash_ends_the_process(tmp_path: Path) -> None:
    process, url = start_process(tmp_path, "--faults")
    try:
        fault = {"kind": "crash", "path": "/internal/ping"}
        assert requests.post(f"{url}/faults", json=fault, timeout=PATIENCE).status_code == 201
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/internal/ping", timeout=PATIENCE)
        assert process.wait(PATIENCE) == CRASH_EXIT_CODE
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"kind": "fire"}, "'error'"),
        ({"kind": "error"}, "give `body`, or `like` with one of out of memory, nan"),
        ({"kind": "slow"}, "seconds"),
        ({"kind": "hang", "nth": 0}, "greater than or equal to 1"),
        ({"kind": "drop", "status": 500}, "Extra inputs are not permitted"),
    ],
)
def test_a_fault_that_makes_no_sense_is_explained(server: EmbeddedWebUI, body: dict[str, Any], says: str) -> None:
    answer = requests.post(f"{server.url}/faults", json=body, timeout=PATIENCE)
    assert answer.status_code == 422
    assert says in answer.text


def test_no_such_fault(server: EmbeddedWebUI) -> None:
    assert requests.delete(f"{server.url}/faults/999", timeout=PATIENCE).status_code == 404


def test_without_the_flag_there_is_no_such_route(tmp_path: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path) as plain:
        for method in ("GET", "POST", "DELETE"):
            assert requests.request(method, f"{plain.url}/faults", timeout=PATIENCE).status_code == 404


def test_the_documents_examples_are_valid() -> None:
    document = (Path(__file__).parents[3] / "docs" / "faults.md").read_text()
    examples = re.findall(r"arm '(\{.*?\})'", document)
    assert len(examples) >= 12
    for example in examples:
        TypeAdapter(AnyFault).validate_json(example)
