"""Eight clients at once, a thousand requests: all answered, and the process does not grow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
import requests
from processes import start_process

CLIENTS = 8
WARM = 200  # requests after which every cache is full
REQUESTS = 1000
GROWTH = 10e6  # bytes; seen is 1 MB. 400 jobs' answers would be 6 MB, the arrays of their pictures 20 MB

TINY = {"prompt": "a boat at sea", "steps": 1, "width": 64, "height": 64, "sampler_name": "Euler"}
MIX: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", "/sdapi/v1/txt2img", TINY),
    ("GET", "/sdapi/v1/progress", None),
    ("POST", "/sdapi/v1/txt2img", TINY),
    ("POST", "/sdapi/v1/txt2img", {**TINY, "prompt": "a castle", "sampler_name": "DPM++ 2M"}),
    ("POST", "/internal/progress", {"id_task": "task(x)"}),
    ("GET", "/sdapi/v1/options", None),
    ("GET", "/internal/pending-tasks", None),
]


def test_a_thousand_requests(tmp_path: Path) -> None:
    process, url = start_process(tmp_path)
    try:
        usage = psutil.Process(process.pid)
        session = requests.Session()
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=CLIENTS))

        def send(number_and_call: tuple[int, tuple[str, str, dict[str, Any] | None]]) -> int:
            number, (method, path, body) = number_and_call
            seeded = body and {**body, "seed": number}
            return session.request(method, url + path, json=seeded, timeout=60).status_code

        calls = enumerate(islice(cycle(MIX), REQUESTS))
        with ThreadPoolExecutor(CLIENTS) as clients:
            first = list(clients.map(send, islice(calls, WARM)))
            warm = usage.memory_info().rss
            rest = list(clients.map(send, calls))
            after = usage.memory_info().rss
        assert len(first) + len(rest) == REQUESTS
        assert set(first + rest) == {200}
        assert after - warm < GROWTH, f"grew by {(after - warm) / 1e6:.0f} MB in {REQUESTS - WARM} requests"
    finally:
        process.kill()
        process.wait()
