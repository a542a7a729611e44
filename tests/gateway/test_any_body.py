"""Whatever is sent: the API answers in its own words, stores nothing outside its folders, and tells nothing secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from tests.gateway.conftest import Gateway

FIELDS = """name checkpoint images txt2img img2img init_images raw endpoint payload prompt seed steps to job priority
statuses older_than_days id_task override_settings alwayson_scripts n_iter batch_size mask"""
HOSTILE = ["../../etc/passwd", "/etc/passwd", "store:../x", "\ud800", "\x00", "{{ 7 * 7 }}", "__a__", "{a|"]
names = st.sampled_from(FIELDS.split())
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
hostile = st.sampled_from(HOSTILE)
bodies = st.recursive(
    scalars | hostile,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
task = "00000000-0000-0000-0000-000000000000"
ROUTES = [
    ("POST", "/task-scheduler/queue"),
    ("PATCH", f"/task-scheduler/queue/{task}"),
    ("POST", f"/task-scheduler/queue/{task}/move"),
    ("POST", f"/task-scheduler/queue/{task}/duplicate"),
    ("POST", "/task-scheduler/clear"),
    ("POST", "/internal/progress"),
    ("POST", "/as/fuzz/sdapi/v1/options"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@bounds(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_any_body_is_answered(gateway: Gateway, method: str, path: str, body: Any) -> None:
    before = sorted(Path(gateway.prefect.home).parent.iterdir())
    text = json.dumps(body)  # NaN and Infinity too, which are no JSON and which Python reads
    headers = {"Content-Type": "application/json"}
    answer = requests.request(method, gateway.url + path, data=text, headers=headers, timeout=60)
    assert answer.status_code < 500, answer.text
    assert "root:x:" not in answer.text, "a piece of another file"
    assert sorted(Path(gateway.prefect.home).parent.iterdir()) == before
