"""``gpu_idle_lookahead``, ``gpu_idle_limit1``: the GPU between two queued runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from bench.goals import LOOP, STOCK, STOCK_FAST, Figure
from bench.job_log import gaps_between_runs, median, p95
from bench.jobs import job, payload
from bench.peers import BareLoop
from bench.results import figure
from bench.rig import FAST_POLLING, STOCK_POOL, MeasuredWebUI, Rig
from services.process import Child

# Seconds of GPU for the runs, in turn: about what a picture takes. All of one length, they would keep step with
# whatever the clients do each second.
JOBS = (4.0, 4.35, 4.2, 4.05, 4.4, 4.25, 4.1, 4.45, 4.3, 4.15)
BARE_JOB = 0.5  # for the loop, whose gaps do not depend on it
WITHIN = 30.0  # seconds for each run, at most
ENTRYPOINT = "bench.plainflow.plain"


def measure(rig: Rig, *, runs: int, stock_runs: int) -> dict[str, Figure]:
    """Both figures.

    Args:
        runs: queued runs of ours.
        stock_runs: queued runs of each stock worker, whose gaps take up to ten seconds.
    """
    with rig.webui() as webui:
        webui.warm_up()
        lookahead = ours(rig, webui, runs, lookahead=True)
        limit1 = ours(rig, webui, runs, lookahead=False)
        fast = stock(rig, webui, stock_runs, polling=FAST_POLLING)
        default = stock(rig, webui, stock_runs, polling=None)
        loop = bare(webui, runs)
    peers = {STOCK: default, STOCK_FAST: fast, LOOP: loop}
    return {"gpu_idle_lookahead": compared(lookahead, peers), "gpu_idle_limit1": compared(limit1, peers)}


def compared(gaps: Sequence[float], peers: dict[str, list[float]]) -> Figure:
    return figure(
        median(gaps),
        {name: median(theirs) for name, theirs in peers.items()},
        "s",
        len(gaps),
        p95=p95(gaps),
        against_p95={name: p95(theirs) for name, theirs in peers.items()},
        against_n={name: len(theirs) for name, theirs in peers.items()},
    )


def ours(rig: Rig, webui: MeasuredWebUI, runs: int, *, lookahead: bool) -> list[float]:
    """The gaps with ``darkroom worker``."""
    with rig.worker(webui, lookahead=lookahead) as worker:
        deployment = rig.api.deployment_id("generate/generate")
        return queued(rig, webui, worker, runs, lambda seconds: rig.api.trigger(deployment, {"job": job(seconds)}))


def stock(rig: Rig, webui: MeasuredWebUI, runs: int, *, polling: float | None) -> list[float]:
    """The gaps with ``prefect worker start`` and the plainest flow."""
    with rig.stock_worker(polling=polling) as worker:
        deployment = rig.api.deployment("plain/plain", entrypoint=ENTRYPOINT, pool=STOCK_POOL)
        return queued(rig, webui, worker, runs, lambda seconds: rig.api.trigger(deployment, plain(rig, webui, seconds)))


def plain(rig: Rig, webui: MeasuredWebUI, seconds: float) -> dict[str, Any]:
    """The parameters of a plain run."""
    return {"url": webui.url, "payload": payload(seconds), "folder": str(rig.pictures)}


def queued(rig: Rig, webui: MeasuredWebUI, worker: Child, runs: int, trigger: Callable[[float], str]) -> list[float]:
    """Queue so many runs at once and look at the GPU between them.

    The first run is there to start the queue: until its job begins the others are still being created.
    """
    ids = [trigger(seconds) for seconds in itertools.islice(itertools.cycle(JOBS), runs + 1)]
    webui.log.wait(ids, WITHIN, worker.check)  # by the WebUI's log: nobody asks the server anything in the gaps
    rig.api.wait(ids, WITHIN, worker.check)
    return gaps_between_runs(webui.log.turns(ids))


def bare(webui: MeasuredWebUI, runs: int) -> list[float]:
    """The gaps of a loop that asks for the next picture as soon as the last has come, and does nothing else."""
    mark = webui.log.mark()
    loop = BareLoop(webui.url)
    for _ in range(runs + 1):
        loop.paint(payload(BARE_JOB))
    return gaps_between_runs(webui.log.since(mark))
