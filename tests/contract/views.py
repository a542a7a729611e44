"""What of a measured recording two runs can share. Applied to the recorded and to ours alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def _answers(measured: dict[str, Any]) -> dict[str, Any]:
    """Of back-to-back calls: how many were answered."""
    return {
        kind: {"answered": run["n"] if "n" in run else len(run["completion_order"])} for kind, run in measured.items()
    }


def _starved(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of many requests in flight: whether the first look at progress had to wait, and the statuses."""
    return [
        {
            "n": run["n"],
            "progress had to wait": run["probes"][0][1] >= 1,
            "statuses": sorted({status for _, _, status in run["results"]}),
            "answered": len(run["results"]),
        }
        for run in measured
    ]


def _models(measured: dict[str, Any]) -> dict[str, Any]:
    """Of timed switches: which models painted."""
    return {kind: run["seq"] for kind, run in measured.items()}


def _alike(summary: dict[str, Any]) -> dict[str, Any]:
    """Of hashed pixels: which pictures are the same, by numbers in order of appearance."""
    numbers: dict[str, int] = {}
    return {
        key: [numbers.setdefault(item, len(numbers)) for item in value]
        if isinstance(value, list) and not any("#" in item for item in value)
        else value
        for key, value in summary.items()
    }


def _any_seed(exchange: dict[str, Any]) -> dict[str, Any]:
    """Of a job with a seed drawn at random: the seeds counted from the first one."""
    job = exchange.get("r", exchange)
    if job["status"] != 200:
        return exchange
    first = json.loads(job["body"]["info"])["seed"]
    text = job["body"]["info"]
    for number in range(4):
        text = text.replace(str(first + number), f"{10**9 + number}")
    seeded = {**job, "body": {**job["body"], "info": text}}
    return {**exchange, "r": seeded} if "r" in exchange else seeded


VIEWS: dict[str, Callable[[Any], Any]] = {
    "overhead/back_to_back": _answers,
    "progress/threadpool_exhaustion": _starved,
    "checkpoint-switch/switch_timings_1step_64px": _models,
    "checkpoint-switch/chimera_summary": _alike,
    "errors/seed_minus1": _any_seed,
    "responses/txt2img_seed_random": _any_seed,
}


def view(name: str, value: Any) -> Any:
    return VIEWS[name](value) if name in VIEWS else value
