"""Make the example job fit a WebUI that it was not written for.

The example names the embedded WebUI's checkpoints. A real WebUI has others, and the first thing that a stranger does
is ``make run WEBUI_URL=…``: whatever it lacks is replaced by something that it has, and said so. Jobs of one's own are
never changed: there a wrong name is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from blocks.connection import WebUI
from flows.job import GenerationJob
from store.settings import PROJECT
from webui.errors import WebUIError

EXAMPLE = PROJECT / "jobs" / "castle.yaml"


def adapt_example(job: GenerationJob, say: Callable[[str], None]) -> GenerationJob:
    """The job with the names that its WebUI has; unchanged where the WebUI can't be asked."""
    client = WebUI.chosen(None).get_client()
    changed: dict[str, Any] = {}
    try:
        checkpoints = client.checkpoints()
        if checkpoints and not any(one.is_called(job.checkpoint) for one in checkpoints):
            changed["checkpoint"] = _instead("checkpoint", job.checkpoint, [one.file for one in checkpoints], say)
        if job.img2img is not None and job.img2img.checkpoint is not None and "checkpoint" in changed:
            changed["img2img"] = job.img2img.model_copy(update={"checkpoint": None})
        if job.upscale is not None:
            upscalers = [one.name for one in client.upscalers() if one.name != "None"]
            if upscalers and job.upscale.upscaler not in upscalers:
                name = _instead("upscaler", job.upscale.upscaler, upscalers, say)
                changed["upscale"] = job.upscale.model_copy(update={"upscaler": name})
        if job.adetailer:
            models = [name for name in client.adetailer_models() if name != "None"]
            if not models:
                say("this WebUI has no ADetailer: the example goes without that stage")
                changed["adetailer"] = []
            elif job.adetailer[0].ad_model not in models:
                faces = [name for name in models if "face" in name] or models
                name = _instead("ADetailer model", job.adetailer[0].ad_model, faces, say)
                changed["adetailer"] = [one.model_copy(update={"ad_model": name}) for one in job.adetailer]
    except WebUIError:
        return job  # the run itself will say what is wrong
    return job.model_copy(update=changed)


def _instead(kind: str, name: str, there: Sequence[str], say: Callable[[str], None]) -> str:
    say(f"this WebUI has no {kind} {name!r}: the example takes {there[0]!r}")
    return there[0]
