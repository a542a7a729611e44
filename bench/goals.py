"""The figures and what each is to reach: the issue's table, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Figure = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """``text`` for the table; ``met`` says whether a figure reaches it."""

    title: str
    text: str
    met: Callable[[Figure], bool]


STOCK, STOCK_FAST, LOOP = "stock worker, its defaults", "stock worker, same polling", "bare HTTP loop"
SAVING_LOOP = "bare HTTP loop that also saves"
FIFO, LEAST = "first in, first out", "the least possible"
DIRECT = "the WebUI itself"
NO_POLLING, EMPTY, AFTER_10 = "no polling", "empty database", "after 10 runs"


def _times(figure: Figure, peer: str) -> float:
    return float(figure["value"]) / float(figure["against"][peer])


GOALS: dict[str, Goal] = {
    "gpu_idle_lookahead": Goal(
        "GPU idle between queued runs, look-ahead",
        "median ≤ 10 ms",
        lambda f: f["value"] <= 0.010,
    ),
    "gpu_idle_limit1": Goal(
        "GPU idle between queued runs, pool limit 1",
        "median ≤ 0.8 s, at least 3 times less than stock at the same polling",
        lambda f: f["value"] <= 0.8 and _times(f, STOCK_FAST) <= 1 / 3,
    ),
    "batch_1s": Goal(
        "a batch at 1 s per picture, wall time", "≤ 1.02 × the loop", lambda f: _times(f, SAVING_LOOP) <= 1.02
    ),
    "batch_200ms": Goal(
        "a batch at 0.2 s per picture, wall time", "≤ 1.05 × the loop", lambda f: _times(f, SAVING_LOOP) <= 1.05
    ),
    "checkpoint_loads": Goal(
        "checkpoint loads, 6 checkpoints in random order",
        "the least possible; nobody passed over longer than the bound",
        lambda f: f["value"] <= f["against"][LEAST] and f["passed_over"] <= f["bound"],
    ),
    "first_step": Goal(
        "from trigger to first step, idle system",
        "at least 5 times sooner, ≤ 0.8 s",
        lambda f: f["value"] <= 0.8 and _times(f, STOCK) <= 1 / 5,
    ),
    "progress_age": Goal("age of the progress in Prefect's API", "p95 ≤ 1.5 s", lambda f: f["p95"] <= 1.5),
    "polling_cost": Goal(
        "generation time with polling and artifacts", "≤ 1.01 ×", lambda f: _times(f, NO_POLLING) <= 1.01
    ),
    "history_10k": Goal(
        "the idle figures and the first step with 10,000 finished runs",
        "≤ 1.2 × each",
        lambda f: _times(f, EMPTY) <= 1.2,
    ),
    "memory_1000": Goal(
        "memory of worker and fork server after 1,000 runs", "≤ 1.05 ×", lambda f: _times(f, AFTER_10) <= 1.05
    ),
    "gallery_50k": Goal(
        "first page of 50,000 pictures, as the Pictures screen asks for it; beside it the slowest filter",
        "≤ 1.5 s, a filter ≤ 0.5 s",
        lambda f: f["value"] <= 1.5 and f["filter"] <= 0.5,
    ),
    "front_door": Goal(
        "a picture of 0.2 s through the queue's address, idle system",
        "at most the first step + 0.3 s over a direct call",
        lambda f: f["value"] <= f["against"][DIRECT] + f["first_step"] + 0.3,
    ),
}
