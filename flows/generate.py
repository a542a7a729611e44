"""The main job: from a form, a file or a timetable to pictures in the gallery."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from prefect import flow

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.job import GenerationJob, read_job
from flows.stages import Stages, draw_seeds, items_of, preflight, shares
from tasks.gpu import Ticket, lease
from tasks.inflight import clear_orphans
from tasks.lane import Lane
from tasks.paint import is_made
from tasks.preflight import JobRefused
from tasks.progress import JobProgress
from tasks.publish import Published, publish, timings
from tasks.status import this_run, waiting_status


@flow(name="generate", flow_run_name="{job.name}", persist_result=True, result_serializer="json")
def generate(job: GenerationJob, webui: WebUI | None = None, gallery: Gallery | None = None) -> list[Published]:
    """Make the pictures of one job, stage by stage, and put them into the gallery.

    Args:
        job: What to make.
        webui: The WebUI to paint with; empty: the block named "default".
        gallery: Where the pictures go; empty: the block named "default".
    """
    webui, gallery = WebUI.chosen(webui), Gallery.chosen(gallery)
    client = webui.get_client()
    run = this_run()
    started, run_id = datetime.now().astimezone(), str(run.id)
    waiting = waiting_status()

    ready = preflight([job], client)
    if ready[0].problem:
        raise JobRefused(f"{webui.base_url} would have painted something else: {ready[0].problem}")
    items = items_of([job], ready, draw_seeds([job]))

    def say_who_paints(holder: Ticket | None) -> None:
        waiting(f"the GPU is with the run {holder.name!r} ({holder.run})" if holder else None)

    with (
        lease(webui.base_url, run=run_id, name=run.name, on_wait=say_who_paints),
        Lane(client, run=run_id, made=lambda request: is_made(request, run_id), on_wait=waiting) as lane,
    ):
        clear_orphans(client)
        stages = Stages(items, lane, JobProgress(shares(items)))
        stages.run()

    timings(stages.timings)
    about = {"flow_run": run_id, "job": job.name, "webui": webui.base_url, "timings": stages.timings}
    return publish(items[0].pictures, gallery, job=job.name, run=run_id, started=started, about=about)


def main() -> int:
    """``python -m flows.generate job.yaml``: the same flow, in this process, with no server running."""
    if len(sys.argv) != 2:
        print("usage: python -m flows.generate job.yaml", file=sys.stderr)
        return 2
    try:
        job = read_job(Path(sys.argv[1]))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for picture in generate(job):
        print(picture.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
