"""``front_door``: what a picture costs through the queue's address."""

from __future__ import annotations

import time

import requests

from bench import firststep
from bench.goals import DIRECT, Figure
from bench.job_log import median, p95
from bench.jobs import payload
from bench.results import figure
from bench.rig import Rig

WITHIN = 30.0  # seconds


def measure(rig: Rig, *, requests_each: int, runs: int) -> dict[str, Figure]:
    """A request through the queue's address on an idle system, and the same to the WebUI itself, by turns; beside them
    the first step of a run, which a queued request can't be sooner than."""
    with rig.webui() as webui:
        webui.warm_up()
        first_step = median(firststep.ours(rig, webui, runs))
        with rig.worker(webui), rig.gateway(webui) as url:
            session = requests.Session()
            taken: dict[str, list[float]] = {url: [], webui.url: []}
            for number in range(requests_each):
                for address, seconds in taken.items():
                    time.sleep(0.5)  # idle before each
                    began = time.monotonic()
                    _post(session, f"{address}/sdapi/v1/txt2img", payload(0.2, seed=number))
                    seconds.append(time.monotonic() - began)
    ours, direct = taken.values()
    more = {"p95": p95(ours), "first_step": first_step}
    return {"front_door": figure(median(ours), {DIRECT: median(direct)}, "s", requests_each, **more)}


def _post(session: requests.Session, address: str, body: object) -> dict[str, str]:
    answer = session.post(address, json=body, timeout=2 * WITHIN)
    answer.raise_for_status()
    return dict(answer.json())
