"""``python -m bench.disk``: what pictures leave on the disk, per 1,000 of them; the table of docs/disk.md."""

from __future__ import annotations

import argparse
import sqlite3
from contextlib import closing
from pathlib import Path

from bench.rig import Rig

WITHIN = 60.0  # seconds for each run, at most
TXT2IMG = {"prompt": "a lighthouse", "steps": 2, "width": 512, "height": 512}
JOB = {
    "name": "disk",
    "checkpoint": "photo.safetensors",
    "img2img": {"denoising_strength": 0.4},
    "upscale": {"upscaler": "Lanczos", "factor": 2},
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.disk", description=__doc__)
    parser.add_argument("--pictures", type=int, default=20, help="pictures that are made in each way (default 20)")
    pictures = parser.parse_args().pictures
    with Rig() as rig, rig.webui(step_time=0.0) as webui, rig.worker(webui) as worker:
        webui.warm_up()
        deployment = rig.api.deployment_id("generate/generate")
        rows = []
        for images in (1, 10):
            before = sizes(rig)
            for start in range(0, pictures, images):
                job = JOB | {"images": images, "txt2img": TXT2IMG | {"seed": 1000 * images + start}}
                rig.api.wait([rig.api.trigger(deployment, {"job": job})], WITHIN, worker.check)
            grown = {place: (size - before[place]) / pictures * 1000 / 1e6 for place, size in sizes(rig).items()}
            rows.append([f"{images} in a run", *(f"{size:.0f}" for size in grown.values())])
    print("| MB per 1,000 pictures | " + " | ".join(before) + " |")
    print("|---" * (len(before) + 1) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    return 0


def sizes(rig: Rig) -> dict[str, int]:
    """Bytes by place. The database is what its pages hold: its log of writes is emptied into it first."""
    with closing(sqlite3.connect(rig.database, timeout=60)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    folders = {
        "gallery": rig.gallery,
        "runs": rig.folder / "home" / "runs",
        "results": rig.folder / "prefect" / "storage",
        "logs": rig.folder / "home" / "logs",
    }
    return {name: _size(folder) for name, folder in folders.items()} | {"database": rig.database.stat().st_size}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    raise SystemExit(main())
