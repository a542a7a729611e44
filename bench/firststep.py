"""``first_step``: from the click to the first step on the GPU, while nothing else goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.goals import STOCK, Figure
from bench.idle import ENTRYPOINT, plain
from bench.job_log import median, p95
from bench.jobs import job
from bench.results import figure
from bench.rig import STOCK_POOL, MeasuredWebUI, Rig
from services.process import Child

JOB = 0.2  # seconds of GPU for each run
POLLING = 10.0  # seconds between two polls of a stock worker
WITHIN = 60.0


def measure(rig: Rig, *, runs: int, stock_runs: int) -> dict[str, Figure]:
    """The figure, from so many single runs of each."""
    with rig.webui() as webui:
        webui.warm_up()
        mine = ours(rig, webui, runs)
        theirs = stock(rig, webui, stock_runs)
    more = {"p95": p95(mine), "against_p95": {STOCK: p95(theirs)}, "against_n": {STOCK: len(theirs)}}
    return {"first_step": figure(median(mine), {STOCK: median(theirs)}, "s", len(mine), **more)}


def ours(rig: Rig, webui: MeasuredWebUI, runs: int) -> list[float]:
    """Seconds for each run, with ``darkroom worker`` at pool limit 1."""
    with rig.worker(webui) as worker:
        deployment = rig.api.deployment_id("generate/generate")
        parameters = {"job": job(JOB)}
        return [_one(rig, webui, worker, 0.5, lambda: rig.api.trigger(deployment, parameters)) for _ in range(runs)]


def stock(rig: Rig, webui: MeasuredWebUI, runs: int) -> list[float]:
    """Seconds for each run, with ``prefect worker start`` and the plainest flow.

    A click comes at any moment between two polls: the pauses are spread evenly over the time between them.
    """
    with rig.stock_worker() as worker:
        deployment = rig.api.deployment("plain/plain", entrypoint=ENTRYPOINT, pool=STOCK_POOL)
        parameters = plain(rig, webui, JOB)
        pauses = [POLLING * (number + 0.5) / runs for number in range(runs)]
        return [_one(rig, webui, worker, pause, lambda: rig.api.trigger(deployment, parameters)) for pause in pauses]


def _one(rig: Rig, webui: MeasuredWebUI, worker: Child, pause: float, trigger: Callable[[], str]) -> float:
    time.sleep(pause)
    clicked = time.time()
    run = trigger()
    rig.api.wait([run], WITHIN, worker.check)
    return webui.log.turns([run])[0].start - clicked
