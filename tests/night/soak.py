"""A night in short: many jobs, a fault for one in five, everything accounted for in the morning.

    python -m tests.night.soak --jobs 500 --seed 1

Jobs of all kinds are queued at once at a real `darkroom up`, strangers use the WebUI as well, and faults that a seed
decides befall the runs. What is still Failed, Crashed or Cancelled when the queue is empty gets one Retry. Prints a
table and a JSON; exits 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.night import report
from tests.night.faults import ANSWERS, STRIKES
from tests.night.rig import SERVER, STANDS, WORKER, Asked, Night, pause
from tests.night.strangers import Strangers
from tests.rest import FINAL
from tests.waiting import until

CHECKPOINTS = ("photo", "oil", "ink", "watercolour")
STEP_TIME = 0.02  # seconds
ONE_IN = 5  # jobs that get a fault
BATCH_ONE_IN = 10
LOOK = 1.0  # seconds between two looks at the queue
SAMPLE = 5.0  # seconds between two readings of the processes
SETTLED_AFTER = 3  # readings after which a process has imported and opened what it needs
MORE_FILES = 20  # open file descriptors by which a process may grow after that
MORE_MEMORY = (40.0, 0.1)  # MiB by which it may grow: so much, and so much a job
IN_THE_END = 30.0  # seconds for what runs leave to be cleared away


@dataclass
class Queued:
    """A run of the soak. ``pictures``: how many each of its jobs has to have in the gallery in the end."""

    run: str
    pictures: dict[str, int]
    needed: int  # requests for pictures, if none is painted twice
    fault: str = ""
    at: int = 1  # the request of the run at which the fault strikes


@dataclass
class Soak:
    night: Night
    chance: random.Random
    deadline: float  # on the monotonic clock
    queued: dict[str, Queued] = field(default_factory=dict)  # by the run's id
    struck: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    last_fault: str = "none yet"
    readings: dict[psutil.Process, list[tuple[float, int]]] = field(default_factory=dict)  # MiB, file descriptors
    over: threading.Event = field(default_factory=threading.Event)

    # -- the jobs ----------------------------------------------------------------------------------------

    def queue(self, jobs: int) -> None:
        """Queue so many runs over Prefect's API, and decide their faults."""
        for number in range(jobs):
            name = f"n{number:03}"
            if number % BATCH_ONE_IN == BATCH_ONE_IN - 1:
                items = [self._job(f"{name}b{item}", 1000 * number + 100 * item) for item in range(3)]
                run = self.night.start({}, "batch/batch", name=name, jobs=items)
            else:
                items = [self._job(name, 1000 * number)]
                run = self.night.start(items[0])
            needed = sum(_requests(item) for item in items)
            queued = Queued(run, {item["name"]: item["images"] for item in items}, needed)
            if number % ONE_IN == ONE_IN // 2:
                self._plan_fault(queued)
            self.queued[run] = queued

    def _job(self, name: str, seed: int) -> dict[str, Any]:
        chance, side = self.chance, self.chance.choice((64, 96, 128))
        txt2img = {"prompt": "portrait of a sailor", "steps": chance.randint(2, 6), "width": side, "height": side}
        job = {"name": name, "checkpoint": chance.choice(CHECKPOINTS), "images": chance.randint(1, 2)}
        job["txt2img"] = txt2img | {"seed": seed}
        more = {
            "img2img": {"denoising_strength": 0.5, "checkpoint": chance.choice(CHECKPOINTS)},
            "adetailer": [{"ad_model": "mediapipe_face_full"}],
            "upscale": {"upscaler": "Lanczos", "factor": 1.5},
        }
        return job | {stage: form for stage, form in more.items() if chance.random() < 0.4}

    def _plan_fault(self, queued: Queued) -> None:
        queued.fault = self.chance.choice([*ANSWERS, *STRIKES])
        queued.at = self.chance.randint(1, queued.needed)
        if queued.fault in ANSWERS:
            self.night.arm(**ANSWERS[queued.fault], contains=f"darkroom-{queued.run[:8]}-", nth=queued.at)

    # -- while they run ----------------------------------------------------------------------------------

    def strike(self) -> None:
        """In a thread: as requests arrive, do to their runs what was planned."""
        by_short = {run[:8]: queued for run, queued in self.queued.items()}
        seen: Counter[str] = Counter()
        while not self.over.is_set():
            try:
                asked: Asked = self.night.requests.new.get(timeout=0.5)
            except queue.Empty:
                continue
            queued = by_short.get(asked.run)
            if queued is None or asked.is_load:
                continue
            seen[asked.run] += 1
            if not queued.fault or seen[asked.run] != queued.at:
                continue
            self.struck[queued.fault] += 1
            self.last_fault = queued.fault
            if queued.fault in STRIKES:
                pause(self.chance.uniform(0, 0.1))
                try:
                    STRIKES[queued.fault](self.night, queued.run)
                except Exception as error:  # a process that has just ended can't be killed
                    self.struck[f"{queued.fault} (came too late: {type(error).__name__})"] += 1

    def read_processes(self) -> None:
        """In a thread: memory and open files of server and worker, for as long as the soak lasts."""
        while not self.over.wait(SAMPLE):
            for words in (SERVER, WORKER):
                process = self.night.part(words)
                if process is not None and process.is_running():
                    try:
                        reading = process.memory_full_info().uss / 2**20, process.num_fds()
                    except psutil.Error:
                        continue
                    self.readings.setdefault(process, []).append(reading)

    def wait(self, *, final: tuple[str, ...] = FINAL) -> dict[str, dict[str, Any]]:
        """Wait until every run is final and stays so; returns the runs by id.

        A `darkroom up` that has ended is a problem, and is started again.
        """
        quiet_since, before = time.monotonic(), dict[str, str]()
        while time.monotonic() < self.deadline:
            if not self.night.alive:
                self.problems.append(f"darkroom up ended after '{self.last_fault}': {self.night.last_words()}")
                self.night.begin()
            try:
                # Counted, as long as some have not ended: to read hundreds of runs each time slows the server down.
                ended = self.count(final) == len(self.queued)
                runs = self.runs() if ended else {}
            except (AssertionError, requests.RequestException):
                continue  # the server is away
            kinds = {run: found["state_type"] for run, found in runs.items()}
            if kinds != before:
                quiet_since, before = time.monotonic(), kinds
            if ended and all(kind == "COMPLETED" for kind in kinds.values()):
                return runs
            if ended and all(kind in final for kind in kinds.values()) and time.monotonic() - quiet_since > STANDS:
                return runs
            pause(LOOK)
        return self.runs()

    def count(self, states: tuple[str, ...]) -> int:
        """How many of the runs are in one of these states."""
        found = 0
        for ids in self._ids():
            runs = {"id": {"any_": ids}, "state": {"type": {"any_": list(states)}}}
            found += self.night.call("POST", "/flow_runs/count", {"flow_runs": runs})
        return found

    def _ids(self) -> Iterator[list[str]]:
        """Of the runs, as many at a time as Prefect gives."""
        ids = list(self.queued)
        return (ids[start : start + 200] for start in range(0, len(ids), 200))

    def runs(self) -> dict[str, dict[str, Any]]:
        found = list[dict[str, Any]]()
        for ids in self._ids():
            body = {"flow_runs": {"id": {"any_": ids}}, "limit": 200}
            found += self.night.call("POST", "/flow_runs/filter", body)
        return {run["id"]: run for run in found}

    # -- in the morning ----------------------------------------------------------------------------------

    def account(self, first: dict[str, dict[str, Any]], last: dict[str, dict[str, Any]]) -> None:
        """What became of each job, before and after the Retry."""
        for run, queued in self.queued.items():
            of = f"{next(iter(queued.pictures))} (fault: {queued.fault or 'none'})"
            before, after = first.get(run), last.get(run)
            if before is None or after is None:
                self.problems.append(f"{of} is lost: Prefect knows no run {run}")
                continue
            state = before["state"]
            if before["state_type"] not in FINAL:
                self.problems.append(f"{of} never ended: {state['name']}: {state['message']}")
            elif before["state_type"] != "COMPLETED" and not queued.fault:
                self.problems.append(f"{of} ended as {state['name']}: {state['message']}")
            elif before["state_type"] != "COMPLETED" and len(state["message"] or "") < 10:
                self.problems.append(f"{of} ended as {state['name']} and gives no reason")
            if after["state_type"] != "COMPLETED":
                state = after["state"]
                self.problems.append(f"{of} is {state['name']} after Retry: {state['message']}")
            for job, wanted in queued.pictures.items():
                there = self.night.published(job)
                if len(there) != wanted:
                    self.problems.append(f"{job} (fault: {queued.fault or 'none'}): {len(there)} of {wanted} pictures")

    def growth(self) -> dict[str, str]:
        """By how much server and worker grew, the worst of their lives; what is too much is a problem."""
        worst = {"memory, MiB": 0.0, "open files": 0.0}
        for process, readings in self.readings.items():
            later = readings[SETTLED_AFTER:]
            if not later:
                continue
            memory, files = later[-1][0] - later[0][0], later[-1][1] - later[0][1]
            worst = {"memory, MiB": max(worst["memory, MiB"], memory), "open files": max(worst["open files"], files)}
            if memory > MORE_MEMORY[0] + MORE_MEMORY[1] * len(self.queued) or files > MORE_FILES:
                self.problems.append(f"process {process.pid} grew by {memory:.0f} MiB and {files} open files")
        return {name: f"{value:.1f}" for name, value in worst.items()}


def _requests(job: dict[str, Any]) -> int:
    """How many requests for pictures a job needs: one for each picture and stage."""
    return int(job["images"]) * sum(stage in job for stage in ("txt2img", "img2img", "adetailer", "upscale"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.night.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="the most that the jobs may take")
    parser.add_argument("--record", action="store_true", help="write the result into docs/night.md")
    given = parser.parse_args()
    print(f"{given.jobs} jobs, seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="dr-soak-") as folder:  # short: a Unix socket's path holds 107 bytes
        night = Night.at_home(Path(folder), step_time=STEP_TIME)
        try:
            night.begin()
            result = soak(night, given.jobs, given.seed, given.minutes)
        finally:
            night.close()
    print(report.soak_table(result))
    print(json.dumps(result, ensure_ascii=False))
    if given.record:
        report.add_soak(result)
    return 1 if result["what does not hold"] else 0


def soak(night: Night, jobs: int, seed: int, minutes: float) -> dict[str, Any]:
    """Run it; returns what was seen, and in words what does not hold."""
    began = time.monotonic()
    soak = Soak(night, random.Random(seed), began + 60 * minutes)
    with Strangers(night, every=2.0) as strangers:
        soak.queue(jobs)
        threads = [threading.Thread(target=work, daemon=True) for work in (soak.strike, soak.read_processes)]
        for thread in threads:
            thread.start()
        first = soak.wait()
        failed = [run for run, found in first.items() if found["state_type"] in FINAL[1:]]
        for run in failed:
            night.retry(run)
        soak.deadline = max(soak.deadline, time.monotonic() + 60)
        last = soak.wait() if failed else first
        soak.over.set()
        for thread in threads:
            thread.join()
    soak.account(first, last)
    try:
        until("nothing is left behind", lambda: not night.left_behind(), IN_THE_END)
    except AssertionError:
        soak.problems += night.left_behind()
    if strangers.outcomes["touched"]:
        soak.problems.append(f"{strangers.outcomes['touched']} strangers' jobs were touched")
    needed = sum(queued.needed for queued in soak.queued.values())
    painted = sum(not asked.is_load for asked in night.requests.asked)
    # A stranger's job can load another model before it is seen what painted ours; then that picture is painted again.
    logs = [line for log in (night.home / "logs").glob("runs.log*") for line in log.read_text().splitlines()]
    doubted = sum("failed with exception: WrongCheckpoint" in one and "'switch to " not in one for one in logs)
    if painted - needed - doubted > sum(soak.struck.values()):
        asked = Counter(one.task.rpartition("-")[0] or f"upscale of {one.run}" for one in night.requests.asked)
        twice = ", ".join(f"{task} {count} times" for task, count in asked.items() if count > 1)
        soak.problems.append(
            f"{painted - needed - doubted} pictures too many for {soak.struck.total()} faults: {twice}"
        )
    return {
        "jobs": jobs,
        "seed": seed,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "ended by themselves": dict(Counter(run["state"]["name"] for run in first.values())),
        "after one Retry": dict(Counter(run["state"]["name"] for run in last.values())),
        "faults": dict(soak.struck),
        "pictures": sum(sum(queued.pictures.values()) for queued in soak.queued.values()),
        "requests": {"needed": needed, "asked": painted, "repeated because a stranger's model was loaded": doubted},
        "strangers' jobs": dict(strangers.outcomes),
        "grown by at most": soak.growth(),
        "what does not hold": soak.problems,
    }


if __name__ == "__main__":
    sys.exit(main())
