"""``checkpoint_loads``: how often a model is loaded for jobs that come in any order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from bench.goals import FIFO, LEAST, Figure
from bench.jobs import tiny_job
from bench.peers import BareLoop, picture
from bench.results import figure
from bench.rig import Rig
from deployments.children import Child

CHECKPOINTS = ("anime", "dream", "film", "ink", "oil", "real")
LOAD_TIME = 0.3  # seconds that a load takes; what is counted is loads
SEED = 4  # of the random order
WITHIN = 15.0  # seconds for each job, at most


def measure(rig: Rig, *, jobs: int) -> dict[str, Figure]:
    """The figure, from so many jobs that are all submitted before the first one starts.

    Each way starts on a fresh WebUI that has nothing loaded.
    """
    order = [CHECKPOINTS[number % len(CHECKPOINTS)] for number in range(jobs)]
    random.Random(SEED).shuffle(order)
    loads, overtaken = _ours(rig, order)
    peers = {FIFO: _one_by_one(rig, order), LEAST: _one_by_one(rig, sorted(order))}
    return {"checkpoint_loads": figure(loads, peers, "loads", f"{jobs} jobs", most_passed_over=max(overtaken))}


def _one_by_one(rig: Rig, order: Sequence[str]) -> int:
    """Loads of a bare loop that takes the jobs in this order."""
    with rig.webui(load_time=LOAD_TIME, checkpoints=CHECKPOINTS) as shop:
        loop = BareLoop(shop.url)
        for checkpoint in order:
            loop.paint(picture(1, checkpoint=f"{checkpoint}.safetensors"))
        return sum(turn.loaded for turn in shop.log.turns())


def _ours(rig: Rig, order: Sequence[str]) -> tuple[int, list[int]]:
    """Loads with ``darkroom worker``, and for each job how many that came after it were painted before it."""
    with rig.webui(load_time=LOAD_TIME, checkpoints=CHECKPOINTS) as shop:
        rig.deploy(shop)
        deployment = rig.api.deployment_id("generate/generate")
        ids = [
            rig.api.trigger(deployment, {"job": tiny_job(checkpoint, seed=number, name=f"job-{number:02}")})
            for number, checkpoint in enumerate(order)
        ]
        with rig.worker(shop) as worker:
            _wait(rig, ids, worker)
        turns = shop.log.turns()
    return sum(turn.loaded for turn in turns), passed_over([run[:8] for run in ids], [turn.run for turn in turns])


def _wait(rig: Rig, ids: Sequence[str], worker: Child) -> list[dict[str, Any]]:
    return rig.api.wait(ids, 60 + WITHIN * len(ids), worker.check)


def passed_over(submitted: Sequence[str], painted: Sequence[str]) -> list[int]:
    """For each run, in the order of submission: how many later ones were painted before it."""
    place = {run: number for number, run in reversed(list(enumerate(painted)))}
    return [sum(place[later] < place[run] for later in submitted[number + 1 :]) for number, run in enumerate(submitted)]
