"""Restarting a WebUI that hangs, or that has lost its checkpoint: where it can, and where that costs nobody a job."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection

from store.locks import hold
from store.settings import settings
from webui.client import WebUIClient
from webui.errors import NotFound, WebUIError

AGAIN_AFTER = 1800.0  # seconds between two restarts of one WebUI, whichever run asks


def restart(client: WebUIClient, ours: Collection[str]) -> str:
    """Have the WebUI start anew; returns why it was not, or nothing. It is away for a while afterwards.

    Args:
        ours: the task ids that may be lost. With any other one at the WebUI it is not restarted.
    """
    last = settings().home / "restarts" / hashlib.sha256(client.base_url.encode()).hexdigest()[:24]
    last.parent.mkdir(parents=True, exist_ok=True)
    last.touch()
    lock = hold(last)  # two runs may find the same hang
    try:
        before = float(last.read_text() or 0)
        if (ago := time.time() - before) < AGAIN_AFTER:
            return f"it was restarted {ago / 60:.0f} min ago already"
        if others := [task for task in client.pending_tasks() if task not in ours]:
            return f"{len(others)} jobs of others wait there"
        if client.job_state().state.running and not any(client.task_progress(task).active for task in ours):
            return "somebody else's job runs there"
        if not client.restart():
            return "it can't be from here (it needs --api-server-stop, and something that starts it again)"
        last.write_text(str(time.time()))
        return ""
    except NotFound:
        return "it does not tell whose jobs it has (--nowebui)"
    except WebUIError as error:
        return f"that failed: {error}"
    finally:
        if lock is not None:
            lock.release()
