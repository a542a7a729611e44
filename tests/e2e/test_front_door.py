"""`darkroom up` serves the queue: a client of the WebUI's API is given its address, and changes nothing else."""

from __future__ import annotations

import requests

from tests.up import Up


def test_up_says_where_the_queue_is_and_a_client_gets_its_picture(darkroom: Up) -> None:
    line = next(line for line in darkroom.log.read_text().splitlines() if line.startswith("queue "))
    url = line.split()[1]
    payload = {"prompt": "a boat", "steps": 2, "width": 64, "height": 64, "seed": 5}
    answer = requests.post(f"{url}/sdapi/v1/txt2img", json=payload, timeout=120)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["images"]) == 1
    assert [path for path, _ in darkroom.painted()] == ["txt2img"]
    rebound = requests.get(f"{url}/sdapi/v1/options", headers={"Host": "evil.example"}, timeout=30)
    assert rebound.status_code == 403
    assert requests.get(f"{url}/openapi.json", timeout=30).json()["info"]["title"] == "Darkroom"
