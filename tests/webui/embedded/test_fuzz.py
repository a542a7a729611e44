"""Requests made up from the server's own OpenAPI document: none hangs or kills it, and where it answers a
500, it is one that a real WebUI was recorded giving."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis

from webui.embedded.server import EmbeddedWebUI

RECORDINGS = Path(__file__).parents[2] / "contract" / "recordings"
PATIENCE = 60  # seconds: a request that takes longer hangs
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))  # per route

# Jobs are kept tiny, so that the painter does not take the time that is for requests. What is too large is
# cut to these; what is too small, or no number, is sent as it is.
LARGEST = {
    "width": 64,
    "height": 64,
    "steps": 2,
    "n_iter": 2,
    "batch_size": 2,
    "hr_scale": 1.5,
    "hr_resize_x": 80,
    "hr_resize_y": 80,
    "hr_second_pass_steps": 2,
    "firstphase_width": 64,
    "firstphase_height": 64,
    "upscaling_resize": 2,
    "upscaling_resize_w": 64,
    "upscaling_resize_h": 64,
    "inpaint_full_res_padding": 64,
    "mask_blur": 16,
    "mask_blur_x": 16,
    "mask_blur_y": 16,
    "timeout": 0.1,
}


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Keep a made-up job small; a default job is 512 pixels wide and takes 50 steps."""
    path = context.operation.path if context.operation else ""
    if not isinstance(body, dict):
        return body
    if path.endswith("2img"):
        body = {"width": 64, "height": 64, "steps": 2, **body}
    for name, largest in LARGEST.items():
        value = body.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > largest:
            body[name] = largest
    return body


def recorded_errors() -> set[str]:
    """The kinds of 500 in the recordings: the exception's name, or the whole detail of those without one."""
    kinds: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("status") == 500 and isinstance(value.get("body"), dict):
                kinds.add(value["body"].get("error") or value["body"]["detail"])
            for item in value.values():
                collect(item)
        elif isinstance(value, list):
            for item in value:
                collect(item)

    for path in RECORDINGS.rglob("*.json"):
        collect(json.loads(path.read_text()))
    return kinds


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedWebUI]:
    with EmbeddedWebUI(folder=tmp_path_factory.mktemp("webui")) as running:
        yield running


# Not in the recordings, but what a real one does by its source.
BY_SOURCE = {
    "AttributeError": "init_images may hold anything; what is no text has no startswith",
}
KNOWN = recorded_errors() | set(BY_SOURCE)
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
BOUNDS = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)


def test_no_answer_that_a_real_one_would_not_give(server: EmbeddedWebUI) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    unknown: list[str] = []
    routes = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        routes += 1

        # Not every operation can be asked wrongly: one without parameters and body has no negative cases.
        takes_something = operation.body or operation.query or operation.path_parameters
        for mode in MODES if takes_something else MODES[:1]:

            @BOUNDS
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def fuzz(case: Any) -> None:
                answer = case.call(timeout=PATIENCE)
                if answer.status_code >= 500 and not is_recorded(answer):
                    unknown.append(f"{case.method} {case.path} {str(case.body)[:300]}: {answer.text[:300]}")

            fuzz()
    assert routes > 40
    assert server.job_queue.begun > EXAMPLES, "too few of the requests became jobs"
    assert not unknown, f"{len(unknown)} unknown errors:\n" + "\n".join(unknown[:20])


def is_recorded(answer: requests.Response) -> bool:
    said = answer.json()
    shapes = ({"error", "detail", "body", "message"}, {"detail"})
    return set(said) in shapes and (said.get("error") or said["detail"]) in KNOWN


def test_the_server_still_works(server: EmbeddedWebUI) -> None:
    """Runs after the fuzzing, on the same server."""
    requests.post(f"{server.url}/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 1, "eta_noise_seed_delta": 0})
    assert server.wait_until_idle(PATIENCE) is not False
    job = {"prompt": "a boat", "steps": 1, "width": 64, "height": 64}
    answer = requests.post(f"{server.url}/sdapi/v1/txt2img", json=job, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    assert threading.active_count() < 100
