"""``queue_list``, ``queue_move``, ``front_door``: what the queue's address costs, with many runs and with none."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import requests

from bench import firststep
from bench.goals import DIRECT, Figure
from bench.history import give_history
from bench.job_log import median, p95
from bench.jobs import job, payload
from bench.results import figure
from bench.rig import MeasuredWebUI, Rig

PAGE = 100  # tasks of a list, as the API gives them
WITHIN = 30.0  # seconds


def measure(rig: Rig, *, waiting: int = 1000, finished: int = 20_000, repeats: int = 40) -> dict[str, Figure]:
    """Lists and moves, of so many waiting runs beside so many finished ones; no worker is there.

    A list is the first page and pages in between by turns. A move is counted from the request of one client until the
    list of another one shows it.
    """
    give_history(rig, finished)
    chance = random.Random(1)
    with rig.webui() as webui, _gateway(rig, webui) as url:
        mine, other = requests.Session(), requests.Session()
        tasks = [_post(mine, f"{url}/queue", job(1.0, seed=number))["id"] for number in range(waiting)]
        lists = []
        for number in range(repeats):
            offset = chance.randrange(waiting - PAGE) if number % 2 else 0
            began = time.monotonic()
            found = other.get(f"{url}/queue?offset={offset}&limit={PAGE}", timeout=WITHIN).json()["pending"]
            lists.append(time.monotonic() - began)
            assert len(found) == PAGE
        moves = []
        for _ in range(repeats // 2):
            task, place = chance.choice(tasks), chance.randrange(waiting - 1)
            before = other.get(f"{url}/queue?offset={place}&limit=1", timeout=WITHIN).json()["pending"][0]["id"]
            if before == task:
                continue
            began = time.monotonic()
            _post(mine, f"{url}/queue/{task}/move", {"to": before})
            while not _stands_before(other, url, place, task, before):
                assert time.monotonic() - began < WITHIN, f"{task} was not moved before {before}"
            moves.append(time.monotonic() - began)
    n = f"{waiting} waiting, {finished} finished; {len(lists)} lists, {len(moves)} moves"
    return {
        "queue_list": figure(median(lists), {}, "s", n, p95=p95(lists)),
        "queue_move": figure(median(moves), {}, "s", n, p95=p95(moves)),
    }


def measure_front_door(rig: Rig, *, requests_each: int, runs: int) -> dict[str, Figure]:
    """A request through the queue's address on an idle system, and the same to the WebUI itself, by turns; beside them
    the first step of a run, which a queued request can't be sooner than."""
    with rig.webui() as webui:
        webui.warm_up()
        first_step = median(firststep.ours(rig, webui, runs))
        with rig.worker(webui), _gateway(rig, webui) as url:
            session = requests.Session()
            taken: dict[str, list[float]] = {url.removesuffix("/task-scheduler"): [], webui.url: []}
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


def _stands_before(session: requests.Session, url: str, place: int, task: str, other: str) -> bool:
    """Whether a task's neighbour is ``other``, which stood at ``place``: one more before it moves it by one."""
    offset = max(0, place - 1)
    found = session.get(f"{url}/queue?offset={offset}&limit=3", timeout=WITHIN).json()["pending"]
    ids = [one["id"] for one in found]
    return (task, other) in pairwise(ids)


@contextmanager
def _gateway(rig: Rig, webui: MeasuredWebUI) -> Iterator[str]:
    with rig.gateway(webui) as address:
        yield f"{address}/task-scheduler"
