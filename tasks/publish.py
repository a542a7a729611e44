"""Finished pictures into the gallery, each as soon as it is through, with all that made it."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from blocks.gallery import Gallery
from store.picture import Picture
from store.settings import settings


class Published(BaseModel):
    """Where a picture went."""

    path: str
    seed: int
    stage: str
    checkpoint: str = ""
    note: str = ""
    index: int = 1


class NotPublished(RuntimeError):
    """The gallery did not take a picture; it is kept, and a retry puts it there without painting anything."""


class Publisher:
    """Puts the pictures of a run into the gallery, in order, in a thread of its own: the GPU never waits for it.

    What is published stands in a file of the run, so that a retry need not do it again, whatever became of the
    pictures meanwhile. Without that file it is done once more, under the same names: nothing is there twice.

    Args:
        run: the flow run's id.
        started: for the names; in local time, the same on a retry.
        webui: the address, for the JSON beside each picture.
    """

    def __init__(self, gallery: Gallery, *, run: str, started: datetime, webui: str) -> None:
        self.gallery, self._run, self._started, self._webui = gallery, run, started, webui
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="publish")

    def put(self, picture: Picture, *, job: str, key: str, cell: dict[str, str] | None = None) -> Future[Published]:
        """Have a picture published; ``job`` is its job's name, ``key`` what tells that from the run's other jobs, and
        ``cell`` the value of each axis, where it is of a sweep."""
        return self._thread.submit(self._put, picture, job, key, cell or {})

    def close(self) -> None:
        """Wait until everything is published."""
        self._thread.shutdown()

    def _put(self, picture: Picture, job: str, key: str, cell: dict[str, str]) -> Published:
        when = {"date": f"{self._started:%Y-%m-%d}", "time": f"{self._started:%H-%M-%S}", "run": self._run[:8]}
        own = {"job": job, "index": f"{picture.index:04}", "checkpoint": picture.checkpoint or "unknown"}
        name = self.gallery.name(**picture.model_dump() | when | own)
        name += re.sub("[^A-Za-z0-9.]+", "-", "-".join(["", *cell.values()]))[:40].rstrip("-.")
        try:
            history = json.loads(picture.sidecar.read_bytes())
            path = self.gallery.put(f"{name}.png", picture.read())
            about = {"flow_run": self._run, "job": job, "webui": self._webui} | ({"cell": cell} if cell else {})
            self.gallery.put_beside(path, json.dumps(history | about, indent=1).encode())
        except OSError as error:
            raise NotPublished(
                f"{picture.path} is made, but the gallery {self.gallery.where('')} did not take it: {error}. "
                "Make room or mend the folder, then Retry: nothing is painted again"
            ) from error
        published = Published.model_validate(picture.model_dump() | {"path": path})
        with suppress(OSError):  # a retry then publishes it again, which changes nothing
            _note(self._run).parent.mkdir(parents=True, exist_ok=True)
            with _note(self._run).open("a") as file:
                file.write(f"\n{json.dumps([key, published.model_dump()])}")
        return published


def published_before(run: str) -> dict[str, dict[int, Published]]:
    """What earlier attempts of a run have published: by the job's key and the picture's index."""
    found: dict[str, dict[int, Published]] = {}
    with suppress(OSError):
        for line in _note(run).read_text().splitlines():
            with suppress(ValueError):  # an empty line, or one that was cut short when the process died
                key, fields = json.loads(line)
                one = Published.model_validate(fields)
                found.setdefault(key, {})[one.index] = one
    return found


def _note(run: str) -> Path:
    return settings().home / "published" / f"{run}.jsonl"
