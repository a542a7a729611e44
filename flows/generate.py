"""The main job: from a form, a file or a timetable to pictures in the gallery."""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow

from blocks.connection import WebUI
from blocks.gallery import Gallery
from flows.items import freeze_inputs, items_of, preflight
from flows.job import GenerationJob, read_job
from flows.pipeline import Stages, sender_to
from tasks.preflight import JobRefused
from tasks.publish import Published, contact_sheet, publish, table
from tasks.status import RESULTS, due_at, this_run


@flow(
    name="generate",
    flow_run_name="{job.name}",
    persist_result=True,
    result_serializer="json",
    result_storage=RESULTS,
)
def generate(job: GenerationJob, webui: WebUI | None = None, gallery: Gallery | None = None) -> list[Published]:
    """Make the pictures of one job, stage by stage, and put them into the gallery.

    Args:
        job: What to make.
        webui: The WebUI to paint with; empty: the block named "default".
        gallery: Where the pictures go; empty: the block named "default".
    """
    run_id, started = str(this_run().id), due_at()
    webui = WebUI.chosen(webui)
    [job] = freeze_inputs([job], run_id)
    [ready] = preflight([job], webui.get_client())
    if ready.problem:
        raise JobRefused(f"{webui.base_url} would have painted something else: {ready.problem}")
    items = items_of([job], [ready])

    with sender_to(webui) as sender:
        stages = Stages(items, sender)
        stages.start()
        gallery = Gallery.chosen(gallery)  # Prefect takes its time to tell, and the GPU need not wait for it
        stages.run()

    pictures = items[0].pictures
    about = {"flow_run": run_id, "job": job.name, "webui": webui.base_url, "timings": stages.timings}
    published = publish(pictures, gallery, job=job.name, run=run_id, started=started, about=about)
    # One after the other: two writers at once collide in Prefect's SQLite, and its client then sleeps two seconds.
    stages.progress.flush()
    contact_sheet(job.name, pictures, published)
    table("timings", "Seconds per stage", stages.timings)
    return published


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
