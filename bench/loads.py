"""``checkpoint_loads``: how often a model is loaded for jobs that come in any order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from bench.goals import FIFO, LEAST, Figure
from bench.jobs import tiny_job
from bench.peers import BareLoop, picture
from bench.results import figure
from bench.rig import Rig
from worker.order import PATIENCE, Waiting, plan

CHECKPOINTS = ("anime", "dream", "film", "ink", "oil", "real")
LOAD_TIME = 0.3  # seconds that a load takes; what is counted is loads
SEED = 4  # of the random order
ARRIVAL, JOB = timedelta(seconds=28), timedelta(seconds=30)  # of the jobs that keep arriving, in made-up time
WITHIN = 15.0  # seconds for each job, at most


def measure(rig: Rig, *, jobs: int) -> dict[str, Figure]:
    """The figure, from so many jobs that are all submitted before the first one starts.

    Each way starts on a fresh WebUI that has nothing loaded. ``passed_over`` and ``bound`` (seconds) are those of jobs
    that keep arriving; see :func:`longest_passed_over`.
    """
    order = [CHECKPOINTS[number % len(CHECKPOINTS)] for number in range(jobs)]
    random.Random(SEED).shuffle(order)
    peers = {FIFO: _one_by_one(rig, order), LEAST: _one_by_one(rig, sorted(order))}
    more = {"passed_over": longest_passed_over(), "bound": PATIENCE.total_seconds()}
    return {"checkpoint_loads": figure(_ours(rig, order), peers, "loads", f"{jobs} jobs", **more)}


def _one_by_one(rig: Rig, order: Sequence[str]) -> int:
    """Loads of a bare loop that takes the jobs in this order."""
    with rig.webui(load_time=LOAD_TIME, checkpoints=CHECKPOINTS) as webui:
        loop = BareLoop(webui.url)
        for checkpoint in order:
            loop.paint(picture(1, checkpoint=f"{checkpoint}.safetensors"))
        return sum(turn.loaded for turn in webui.log.turns())


def _ours(rig: Rig, order: Sequence[str]) -> int:
    """Loads with ``darkroom worker``."""
    with rig.webui(load_time=LOAD_TIME, checkpoints=CHECKPOINTS) as webui:
        rig.deploy(webui)
        deployment = rig.api.deployment_id("generate/generate")
        ids = [
            rig.api.trigger(deployment, {"job": tiny_job(checkpoint, seed=number, name=f"job-{number:02}")})
            for number, checkpoint in enumerate(order)
        ]
        with rig.worker(webui) as worker:
            rig.api.wait(ids, 60 + WITHIN * len(ids), worker.check)
        return sum(turn.loaded for turn in webui.log.turns())


def longest_passed_over(jobs: int = 600) -> float:
    """Jobs keep arriving, more than the GPU can do, two of three for one checkpoint: by how many seconds was the latest
    one that was taken before somebody who had waited longer due after that one?

    The planner itself decides, a job after the other; only the clock is made up.
    """
    chance = random.Random(SEED)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    arriving = [
        Waiting(UUID(int=number), f"job-{number}", begin + number * ARRIVAL, begins=name, ends=name)
        for number in range(jobs)
        for name in [chance.choice([*CHECKPOINTS, *[CHECKPOINTS[0]] * 6])]
    ]
    waiting: list[Waiting] = []
    now, loaded, longest = begin, "", timedelta(0)
    while arriving or waiting:
        now = max(now, arriving[0].due) if arriving and not waiting else now
        while arriving and arriving[0].due <= now:
            waiting.append(arriving.pop(0))
        chosen = plan(waiting, loaded)[0].run
        waiting.remove(chosen)
        longest = max([longest, *(chosen.due - other.due for other in waiting)])
        loaded = chosen.ends
        now += JOB
    return longest.total_seconds()
