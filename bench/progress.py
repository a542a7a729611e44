"""``progress_age``: how old is what Prefect's API says of a run that is painting?"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import requests

from bench.goals import Figure
from bench.job_log import Turn, median, p95
from bench.jobs import job
from bench.results import figure
from bench.rig import MeasuredWebUI, Rig

JOB = 5.0  # seconds for each picture
LOOK_AT_API = 0.2  # seconds between two looks at Prefect's API
LOOK_AT_WEBUI = 0.05
Point = tuple[float, float]  # seconds since 1970, percent of the whole job


@dataclass
class Truth:
    """How far the WebUI really is, looked at twenty times a second."""

    webui: MeasuredWebUI
    steps: list[tuple[float, float]] = field(default_factory=list)  # time, share of the picture's steps

    def watch(self, stop: threading.Event) -> None:
        session = requests.Session()
        while not stop.wait(LOOK_AT_WEBUI):
            url = f"{self.webui.url}/sdapi/v1/progress?skip_current_image=true"
            state = session.get(url, timeout=10).json()["state"]
            self.steps.append((time.time(), state["sampling_step"] / max(1, state["sampling_steps"])))

    def percent(self, turns: Sequence[Turn]) -> list[Point]:
        """The whole job's percent over time; only ever more."""
        points: list[Point] = [(turns[0].start, 0.0)]
        for at, share in self.steps:
            done = sum(turn.end <= at for turn in turns)
            inside = any(turn.start <= at < turn.end for turn in turns)
            percent = 100 * (done + (share if inside else 0.0)) / len(turns)
            points.append((at, max(percent, points[-1][1])))
        return points


def measure(rig: Rig, *, images: int) -> dict[str, Figure]:
    """The figure, from one run of so many pictures."""
    with rig.webui() as webui:
        webui.warm_up()
        with rig.worker(webui) as worker:
            deployment = rig.api.deployment_id("generate/generate")
            truth, stop = Truth(webui), threading.Event()
            run = rig.api.trigger(deployment, {"job": job(JOB, images=images)})
            watcher = threading.Thread(target=truth.watch, args=(stop,))
            watcher.start()
            try:
                seen = _seen(rig, run)
            finally:
                stop.set()
                watcher.join()
            rig.api.wait([run], 60, worker.check)
            turns = webui.log.turns([run])
    found = ages(seen, truth.percent(turns), turns[0].start, turns[-1].end)
    return {"progress_age": figure(median(found), {}, "s", f"{len(found)} looks", p95=p95(found), worst=max(found))}


def _seen(rig: Rig, run: str) -> list[Point]:
    """What the API said, until the run is over."""
    seen: list[Point] = []
    for number in range(10_000):
        percent = rig.api.progress(run)
        seen.append((time.time(), percent or 0.0))
        if number % 5 == 0 and rig.api.runs([run])[0]["end_time"]:
            break
        time.sleep(LOOK_AT_API)
    return seen


def ages(seen: Sequence[Point], truth: Sequence[Point], begin: float, end: float) -> list[float]:
    """For each look between ``begin`` and ``end``: seconds since the truth first was where the API says it is."""
    found = []
    for at, percent in seen:
        if begin <= at <= end:
            # Rounded up by a bar, a percent may be ahead of the truth by a hair: then it is not old at all.
            reached = next((when for when, true in truth if true >= percent - 0.01), at)
            found.append(max(0.0, at - reached))
    return found
