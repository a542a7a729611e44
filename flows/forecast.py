"""How many pictures jobs are, and how long they will take, told before they are queued."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from flows.job import GenerationJob

RUNS = 50  # whose timings are looked at


def forecast(client: SyncPrefectClient, jobs: Sequence[GenerationJob]) -> str:
    """``24 pictures in 12 cells, about 0:04:10``: by what a picture of each stage took on average in the last runs,
    whatever its size and steps; without the time where a stage has not run yet.
    """
    cells = [cell for job in jobs for cell in job.cells()]
    stages = Counter[str]()
    for cell in cells:
        stages.update({step.stage.name: cell.total for step in cell.steps()})
    total = sum(cell.total for cell in cells)
    told = f"{total} picture{'s' * (total > 1)}"
    told += f" in {len(cells)} cells" if any(job.sweep for job in jobs) else ""
    seconds, pictures = Counter[str](), Counter[str]()
    timings = ArtifactFilter(key=ArtifactFilterKey(any_=["timings"]))
    for artifact in client.read_artifacts(artifact_filter=timings, sort=ArtifactSort.CREATED_DESC, limit=RUNS):
        for row in json.loads(str(artifact.data)):
            seconds[row["stage"]] += row["at the WebUI"]
            pictures[row["stage"]] += row["pictures"]
    if any(not pictures[stage] for stage in stages):
        return told
    expected = sum(count * seconds[stage] / pictures[stage] for stage, count in stages.items())
    return f"{told}, about {timedelta(seconds=max(1, round(expected)))}"
