"""``polling_cost``: does looking at a generation slow it down?"""

from __future__ import annotations

from bench.goals import NO_POLLING, Figure
from bench.job_log import median, p95
from bench.jobs import job, payload
from bench.peers import BareLoop
from bench.results import figure
from bench.rig import Rig

JOB = 2.0  # seconds of GPU
POLLING = "0.5"  # seconds between two polls: 2 Hz, the default


def measure(rig: Rig, *, repeats: int) -> dict[str, Figure]:
    """The figure: the same picture by turns through our flow, which polls and writes artifacts, and by a bare request.

    What counts is how long the picture was on the GPU, by the server's own clock.
    """
    watched, alone = [], []
    with rig.webui() as webui:
        webui.warm_up()
        with rig.worker(webui, DARKROOM_POLL_INTERVAL=POLLING) as worker:
            deployment = rig.api.deployment_id("generate/generate")
            loop = BareLoop(webui.url)
            for seed in range(repeats):
                run = rig.api.trigger(deployment, {"job": job(JOB, seed=seed)})
                rig.api.wait([run], 60, worker.check)
                watched += [turn.seconds for turn in webui.log.turns([run])]
                mark = webui.log.mark()
                loop.paint(payload(JOB, seed=seed))
                alone += [turn.seconds for turn in webui.log.since(mark)]
    more = {"ratio": median(watched) / median(alone), "p95": p95(watched), "against_p95": {NO_POLLING: p95(alone)}}
    return {"polling_cost": figure(median(watched), {NO_POLLING: median(alone)}, "s", len(watched), **more)}
