"""``batch_1s``, ``batch_200ms``: many pictures in one run, against a loop that saves each as it comes."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from bench.goals import SAVING_LOOP, Figure
from bench.job_log import Turn, gaps, median
from bench.jobs import LARGE, job, payload
from bench.peers import BareLoop
from bench.results import figure
from bench.rig import POOL, MeasuredWebUI, Rig

KEYS = {"batch_1s": 1.0, "batch_200ms": 0.2}  # seconds of GPU for each picture


def measure(rig: Rig, *, pictures: dict[str, int]) -> dict[str, Figure]:
    """The figures, with so many pictures for each key."""
    results = {}
    with rig.webui() as webui:
        webui.warm_up()
        with rig.worker(webui) as worker:
            deployment = rig.api.deployment("batch/bench", entrypoint="flows.batch.batch", pool=POOL)
            for key, seconds in KEYS.items():
                count = pictures[key]
                loop, their_turns = _loop(rig, webui, seconds, count)
                jobs = [
                    job(seconds, seed=number, side=LARGE, name=f"picture-{number:03}") for number in range(1, count + 1)
                ]
                run = rig.api.trigger(deployment, {"name": key, "jobs": jobs})
                [ended] = rig.api.wait([run], 60 + 4 * seconds * count, worker.check)
                results[key] = _compared(ended, webui.log.turns([run]), loop, their_turns, count)
    return results


def _loop(rig: Rig, webui: MeasuredWebUI, seconds: float, count: int) -> tuple[float, list[Turn]]:
    """Wall time of the loop, from before the first request to after the last file; and its turns on the GPU."""
    mark = webui.log.mark()
    loop = BareLoop(webui.url, rig.pictures)
    began = time.monotonic()
    for number in range(1, count + 1):
        loop.paint(payload(seconds, seed=number, side=LARGE))
    return time.monotonic() - began, webui.log.since(mark)


def _compared(run: dict[str, Any], turns: list[Turn], loop: float, their_turns: list[Turn], count: int) -> Figure:
    """Wall time of the run, from Running to Completed: checks, files, gallery, contact sheet and all.

    ``on_the_gpu``: from the first picture's begin to the last one's end, by the server's clock.
    """
    begin, end = (datetime.fromisoformat(run[key]) for key in ("start_time", "end_time"))
    wall = (end - begin).total_seconds()
    return figure(
        wall,
        {SAVING_LOOP: loop},
        "s",
        f"{count} pictures",
        ratio=wall / loop,
        on_the_gpu=_span(turns),
        against_on_the_gpu={SAVING_LOOP: _span(their_turns)},
        gap=median(gaps(turns)),
        against_gap={SAVING_LOOP: median(gaps(their_turns))},
        before_the_first=turns[0].start - begin.timestamp(),
        after_the_last=end.timestamp() - turns[-1].end,
    )


def _span(turns: list[Turn]) -> float:
    return turns[-1].end - turns[0].start
