"""The queue's own routes: each does what its operation does, and says when it can't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests
from PIL import Image

from tests.extension.page import opened
from tests.gateway.conftest import Gateway
from tests.servers import until
from webui.embedded.server import EmbeddedWebUI

PAYLOAD: dict[str, Any] = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "seed": 5}
JOB: dict[str, Any] = {"name": "queued", "checkpoint": "photo", "txt2img": PAYLOAD}


def ids(gateway: Gateway) -> list[str]:
    return [task["id"] for task in gateway.call("GET", "/task-scheduler/queue")["pending"]]


def test_a_task_from_the_queue_to_its_pictures(gateway: Gateway) -> None:
    gateway.call("POST", "/task-scheduler/pause")
    assert gateway.call("GET", "/task-scheduler/status")["paused"]
    first = gateway.call("POST", "/task-scheduler/queue", JOB, status=201)["id"]
    second = gateway.call("POST", "/task-scheduler/queue/txt2img?checkpoint=ink", PAYLOAD, status=201)["id"]
    assert ids(gateway) == [first, second]
    gateway.call("POST", f"/task-scheduler/queue/{second}/move", {"to": "top"})
    assert ids(gateway) == [second, first]
    changed = gateway.call("PATCH", f"/task-scheduler/queue/{first}", {"job": {"txt2img": {"steps": 3}}})
    assert changed["params"]["job"]["txt2img"]["steps"] == 3
    wrong = gateway.call("PATCH", f"/task-scheduler/queue/{first}", {"job": {"txt2img": {"steps": 0}}}, status=422)
    assert "steps" in wrong["detail"]
    gateway.call("POST", "/task-scheduler/start")

    def done(task: str) -> Any:
        found = gateway.call("GET", f"/task-scheduler/queue/{task}")
        return found if found["status"] == "completed" else None

    found = until("both are done", lambda: done(first) and done(second))
    assert found["checkpoint"] == "ink"
    [file] = found["result_images"]
    path = Path(file).relative_to(gateway.prefect.home / "gallery").as_posix()
    assert requests.get(f"{gateway.url}/pictures/{path}", timeout=30).content == Path(file).read_bytes()
    gateway.call("DELETE", f"/task-scheduler/queue/{first}", status=204)
    gateway.call("GET", f"/task-scheduler/queue/{first}", status=404)
    again = gateway.call("POST", f"/task-scheduler/queue/{second}/retry", status=409)
    assert again["error"] == "Finished"


def test_what_the_queue_button_of_the_webuis_page_sends_is_painted(gateway: Gateway) -> None:
    gateway.call("POST", "/task-scheduler/pause")
    with opened() as page:
        page.options.data |= {"darkroom_address": gateway.url, "forge_additional_modules": []}
        said = [page.queue(prompt="from the page")]
        start = Image.new("RGB", (64, 64), "red")
        said.append(page.queue("img2img", init_img=start, mode=4, init_mask=Image.new("L", (64, 64), 255)))
    waiting = ids(gateway)[-2:]
    assert [one.partition(" ·")[0] for one in said] == [f"Queued: number {n} of {n} that wait" for n in (1, 2)]
    gateway.call("POST", "/task-scheduler/start")

    def ended(task: str) -> Any:
        found = gateway.call("GET", f"/task-scheduler/queue/{task}")
        return found if found["status"] in ("completed", "failed") else None

    for task in waiting:
        found = until("it is painted", lambda task=task: ended(task))
        assert (found["status"], found["checkpoint"]) == ("completed", "ink.safetensors"), found["error"]
        with Image.open(found["result_images"][0]) as picture:
            assert "Clip skip: 2" in picture.info["parameters"]


def test_a_running_task_is_not_edited_but_cancelled(gateway: Gateway, held: EmbeddedWebUI) -> None:
    long = JOB | {"name": "long", "txt2img": PAYLOAD | {"steps": 60}}
    task = gateway.call("POST", "/task-scheduler/queue", long, status=201)["id"]
    until("it runs", lambda: gateway.call("GET", f"/task-scheduler/queue/{task}")["status"] == "running")
    said = gateway.call("PATCH", f"/task-scheduler/queue/{task}", {"job": {"images": 2}}, status=409)
    assert said["error"] == "Running"
    gateway.call("POST", f"/task-scheduler/queue/{task}/cancel")
    until("it is cancelled", lambda: gateway.call("GET", f"/task-scheduler/queue/{task}")["status"] == "cancelled")


def test_no_file_outside_the_gallery_is_served(gateway: Gateway) -> None:
    for path in ("../up.lock", "..%2fup.lock", "/etc/passwd", "%2fetc%2fpasswd"):
        assert requests.get(f"{gateway.url}/pictures/{path}", timeout=30).status_code == 404


def test_a_body_that_is_too_large_is_refused(gateway: Gateway) -> None:
    headers = {"Content-Length": str(200 * 1024 * 1024), "Content-Type": "application/json"}
    request = requests.Request("POST", f"{gateway.url}/task-scheduler/queue").prepare()
    request.headers.update(headers)
    assert requests.Session().send(request, timeout=30).status_code == 413


def test_a_change_is_told_to_whoever_listens(gateway: Gateway) -> None:
    with requests.get(f"{gateway.url}/task-scheduler/events", stream=True, timeout=60) as events:
        lines = events.iter_lines()
        assert next(lines) == b": listening"
        task = gateway.call("POST", "/task-scheduler/queue", JOB, status=201)["id"]
        assert any(task.encode() in line for line in lines)
