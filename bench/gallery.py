"""``gallery_50k``: how soon the Pictures screen has its first page and a filter, with 50,000 pictures?"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.goals import Figure
from bench.job_log import median, p95
from bench.results import figure
from bench.rig import Rig
from catalog.index import Index, Wanted

PNG = bytes.fromhex(  # 1 × 1 pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
SUBJECTS = ("castle", "lighthouse", "princess", "harbour", "forest", "market", "tower", "garden")
DAYS, JOBS = 100, 5  # folders, and folders in each
FIRST = 1_790_000_000.0  # seconds since the epoch: the newest picture


def measure(rig: Rig, *, pictures: int = 50_000, repeats: int = 10) -> dict[str, Figure]:
    """The figure: the first page of a new process whose index is there, as the page asks for it; and the slowest of
    the filters. Beside them what there is while the index is built for the first time."""
    gallery, folder = rig.folder / "gallery-50k", rig.folder / "catalog"
    fill(gallery, pictures)
    began = time.monotonic()
    index = Index(gallery, folder)
    _first_screen(index)
    without_index = time.monotonic() - began
    while not index.refresh(wait=60):
        pass
    built = time.monotonic() - began
    first, filters = [], []
    for _ in range(repeats):
        again = Index(gallery, folder)
        first.append(_seconds(partial(_first_screen, again)))
        while not again.refresh(wait=60):  # so that the next one is alone
            pass
        wanted = (
            Wanted(words="castle golden"),
            Wanted(words="nowhere"),
            Wanted(job="tower-3"),
            Wanted(checkpoint="oil", words="market"),
            Wanted(star=True),
            Wanted(day="2026-09-01"),
        )
        filters.append(max(_seconds(partial(_filter, again, one)) for one in wanted))
    more = {"p95": p95(first), "filter": max(filters), "without_index": without_index, "built": built}
    return {"gallery_50k": figure(median(first), {}, "s", f"{pictures} pictures, {repeats} times", **more)}


def _first_screen(index: Index) -> None:
    """What the page asks for before it shows anything."""
    index.refresh(wait=0.3)
    index.find(Wanted())
    index.count(Wanted())
    index.names("job")
    index.names("checkpoint")


def _filter(index: Index, wanted: Wanted) -> None:
    index.find(wanted)
    index.count(wanted)


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def fill(gallery: Path, pictures: int) -> None:
    """So many small pictures with a JSON beside each, a minute apart, by day and job as the default template has it."""
    for number in range(pictures):
        day, job = number * DAYS // pictures, SUBJECTS[number % len(SUBJECTS)]
        name = f"{job}-{number % JOBS}"
        file = gallery / f"day-{day:03}" / name / f"{name}-{number}-upscale.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(PNG)
        prompt = f"a {job} at the {SUBJECTS[number % 7]}, golden hour, detailed, number {number}, " + "soft light, " * 8
        sampling = {"prompt": prompt, "steps": 20, "sampler_name": "DPM++ 2M", "seed": number, "cfg_scale": 7}
        checkpoint = ("photo", "oil", "ink")[number % 3]
        picture = {"sha256": "0" * 64, "seed": number, "index": 1, "stage": "upscale", "checkpoint": checkpoint}
        stage = {
            "picture": picture | {"width": 1024, "height": 1024},
            "infotext": f"{prompt}\nNegative prompt: fog\nSteps: 20, Sampler: DPM++ 2M, Seed: {number}, Size: 512x512",
            "request": {"endpoint": "txt2img", "payload": sampling, "task_id": "task(darkroom)"},
        }
        about = stage | {"made_from": stage | {"made_from": stage}, "flow_run": "0" * 36, "job": name}
        file.with_suffix(".json").write_text(json.dumps(about, indent=1))
        when = FIRST - (pictures - number) * 60
        os.utime(file, (when, when))
        if number % 50 == 0:
            file.with_suffix(".star").touch()
