"""Which of our jobs are at a WebUI, on disk, so that a dead run's job can be stopped by the living.

A WebUI paints on when its client dies. Each request leaves a small file while it is there, locked by its process:
a file that can be locked belongs to nobody any more, and its job may be interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from store.locks import hold
from store.settings import settings
from webui.client import WebUIClient
from webui.errors import NotFound, WebUIError


class InFlight:
    """A note of one request's task id, on disk and locked by this process from here to ``close``.

    It may be there before the request is sent: a WebUI does not mind being asked of an id that it has not heard of.
    """

    def __init__(self, base_url: str, task_id: str) -> None:
        name = hashlib.sha256(task_id.encode()).hexdigest()[:24]
        self.path = _folder() / f"{name}.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unnamed = self.path.with_suffix(".new")
        unnamed.write_text(json.dumps({"base_url": base_url, "task_id": task_id}))
        self._held = hold(unnamed)
        unnamed.rename(self.path)  # named only when locked: nobody finds it unlocked while we live

    def close(self) -> None:
        """The answer is back, or will never come."""
        self.path.unlink(missing_ok=True)
        if self._held is not None:
            self._held.release()


def orphans(base_url: str | None = None) -> Iterator[tuple[Path, str, str]]:
    """The requests whose process is dead, as (file, address, task id); of one WebUI, or of all.

    The caller removes the file when the job is gone from the WebUI.
    """
    for path in sorted(_folder().glob("*.json")):
        held = hold(path, wait=False)
        if held is None:
            continue
        held.release()
        try:
            note = json.loads(path.read_text())
        except (OSError, ValueError):
            path.unlink(missing_ok=True)
            continue
        if base_url in (None, note["base_url"]):
            yield path, note["base_url"], note["task_id"]


def clear_orphans(client: WebUIClient) -> None:
    """Stop what a dead run left at this WebUI, before the next job's start.

    Only the running job can be stopped; one that still waits in the WebUI's queue keeps its note, for the next look.
    """
    for note, _, task_id in orphans(client.base_url):
        try:
            job = client.task_progress(task_id)
            if job is not None and job.active:
                client.interrupt()
            if job is not None and not job.queued:
                note.unlink(missing_ok=True)
        except NotFound:
            note.unlink(missing_ok=True)  # no /internal routes: nobody can tell whose job runs
        except WebUIError:
            return


def _folder() -> Path:
    return settings().home / "inflight"
