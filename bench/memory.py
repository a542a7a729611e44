"""``memory_1000``: do the worker and the fork server grow?"""

from __future__ import annotations

import time

from bench.goals import AFTER_10, Figure
from bench.results import figure
from bench.rig import POOL, Rig, family
from services.process import Child

AT_ONCE = 2  # runs; they need no GPU
GROUP = 50  # runs that are queued at a time
SETTLE = 5.0  # seconds without runs before memory is read
WITHIN = 10.0  # seconds for each run, at most
FEW = 10


def measure(rig: Rig, *, runs: int) -> dict[str, Figure]:
    """The figure, after so many runs of a flow that does nothing: whatever a run does, it does in a process of its own.

    Memory is what belongs to the worker and the processes that it keeps, and to nobody else (USS), in MiB.
    """
    with rig.webui() as webui, rig.worker(webui) as worker:
        rig.api.patch(f"/work_pools/{POOL}", concurrency_limit=AT_ONCE)
        deployment = rig.api.deployment("nothing/nothing", entrypoint="bench.plainflow.nothing", pool=POOL)
        _do(rig, worker, deployment, FEW)
        few = resident(worker)
        _do(rig, worker, deployment, runs - FEW)
        many = resident(worker)
    more = {"ratio": sum(many.values()) / sum(few.values()), "parts": {"after": many, AFTER_10: few}}
    return {
        "memory_1000": figure(sum(many.values()), {AFTER_10: sum(few.values())}, "MiB", f"{runs} runs", **more),
    }


def _do(rig: Rig, worker: Child, deployment: str, runs: int) -> None:
    for start in range(0, runs, GROUP):
        ids = [rig.api.trigger(deployment, {}) for _ in range(min(GROUP, runs - start))]
        rig.api.wait(ids, WITHIN * len(ids), worker.check)


def resident(worker: Child) -> dict[str, float]:
    """MiB of the worker, and of what it keeps running while there are no runs."""
    time.sleep(SETTLE)
    mebibytes = [process.memory_full_info().uss / 1024**2 for process in family(worker)]
    return {"worker": mebibytes[0], "fork server": sum(mebibytes[1:])}
