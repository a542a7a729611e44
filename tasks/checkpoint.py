"""Switching the checkpoint, as a task of its own, so that a load is seen, timed and confirmed."""

from __future__ import annotations

import time
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from gpu.request import Request, load_request
from gpu.sender import Sender
from pictures.checks import check_loaded, checked
from tasks.paint import RETRYING
from webui.client import WebUIClient
from webui.errors import CallFailed, CheckpointLost, WebUIError
from webui.models import Checkpoint


@task(
    name="switch checkpoint",
    task_run_name="switch to {checkpoint.model_name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    **RETRYING,
)
def switch_checkpoint(checkpoint: Checkpoint, fixed: dict[str, Any], sender: Sender) -> float:
    """Load ``checkpoint``, and make sure that it is the one; returns the seconds it took, 0 if it was loaded.

    The switch is one step at 64 × 64 that names the checkpoint. It goes through the WebUI's own queue like any
    picture, so it cannot fall into the middle of a stranger's job as ``POST /options`` does (which on Forge loads
    nothing at all), and it works the same on Forge and AUTOMATIC1111.

    Raises:
        WrongCheckpoint: the WebUI went on with another one.
        CallFailed: the file could not be loaded.
    """
    request = switch_request(checkpoint, fixed)
    if not sender.is_sent(request) and is_loaded(checkpoint, sender.client):
        get_run_logger().info("%s is loaded", checkpoint.title)
        return 0.0
    get_run_logger().info("loading %s", checkpoint.title)
    started = time.monotonic()
    try:
        answer = sender.answer(request)
        checked(request, answer.generation)
        check_loaded(request, answer.generation.info, answer.loaded, sender.client)
    except CheckpointLost:
        raise  # another load failed before; the sender has made the WebUI load another, so that a retry succeeds
    except CallFailed as error:
        advice = f"{checkpoint.title} could not be loaded: is the file whole, and of a kind that this WebUI knows?"
        raise type(error)(error.asked, error.status, error.said, advice) from None
    seconds = time.monotonic() - started
    get_run_logger().info("switched to %s in %.1f s", checkpoint.title, seconds)
    return seconds


def switch_request(checkpoint: Checkpoint, fixed: dict[str, Any]) -> Request:
    """The request that loads ``checkpoint``, under the settings that ``fixed`` overrides."""
    return load_request(checkpoint, fixed["override_settings"])


def is_loaded(checkpoint: Checkpoint, client: WebUIClient) -> bool:
    """Whether the WebUI says so, by hash: the name in its options only echoes what was posted last.

    The hash can be stale after the WebUI's start; then the first picture pays for the load, and is checked anyway.
    """
    if not checkpoint.hash:
        return False
    try:
        loaded = str(client.options().get("sd_checkpoint_hash") or "")
    except WebUIError:
        return False
    return bool(loaded) and loaded in (checkpoint.hash, checkpoint.sha256)
