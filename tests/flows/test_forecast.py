"""A count and an expected time before anything is queued."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate

from flows.forecast import forecast
from flows.job import GenerationJob


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as one:
        for artifact in {one.id for one in one.read_artifacts(limit=200) if one.key == "timings"}:
            one.delete_artifact(artifact)
        yield one


def job(**more: Any) -> GenerationJob:
    return GenerationJob.model_validate({"checkpoint": "photo", "txt2img": {"prompt": "a boat"}} | more)


def test_pictures_are_counted_and_the_last_runs_say_how_long(client: SyncPrefectClient) -> None:
    swept = job(sweep={"cfg_scale": [5, 7], "seed": "1..3"}, images=2, img2img={})
    assert forecast(client, [swept]) == "12 pictures in 6 cells"
    for pictures, seconds in ((1, 4.0), (3, 20.0)):
        rows = [{"stage": stage, "pictures": pictures, "at the WebUI": seconds} for stage in ("txt2img", "img2img")]
        client.create_artifact(ArtifactCreate(key="timings", data=json.dumps(rows)))
    assert forecast(client, [swept]) == "12 pictures in 6 cells, about 0:02:24"
    assert forecast(client, [job(), job(images=4)]) == "5 pictures, about 0:00:30"
    assert forecast(client, [job(upscale={"upscaler": "Lanczos"})]) == "1 picture"
