"""What a dead run left on the GPU is stopped; what lives, or is somebody else's, is not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from gpu import job as jobs
from gpu.job import Job, orphans
from tests.requesting import PATIENCE, Stranger
from tests.waiting import until
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI
from worker.recovery import OrphanedJobs

PAINTS = """
import sys
from gpu.job import Job
from webui.client import WebUIClient
url, task = sys.argv[1:]
client = WebUIClient(url)
Job(client, task).mark_sent()
print("sent", flush=True)
body = {"prompt": "x", "steps": 50, "width": 64, "height": 64, "force_task_id": task}
client.txt2img(body)
"""


def killed_while_painting(server: EmbeddedWebUI, home: Path, task: str) -> None:
    """A process of ours that dies by SIGKILL while its job is at the WebUI."""
    environment = os.environ | {"DARKROOM_HOME": str(home)}
    process = subprocess.Popen(
        [sys.executable, "-c", PAINTS, server.url, task], stdout=subprocess.PIPE, env=environment
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == b"sent\n"
        job = Job(WebUIClient(server.url), task)
        until("it is at the WebUI", lambda: (p := job.client.task_progress(task)).active or p.queued)
        assert list(orphans(WebUIClient)) == [], "its process lives"
    finally:
        process.kill()
        process.wait()
        process.stdout.close() if process.stdout else None


def test_the_job_of_a_killed_process_is_stopped(server: EmbeddedWebUI, client: WebUIClient, home: Path) -> None:
    server.steps.hold()
    killed_while_painting(server, home, "task(dead)")
    assert list(orphans(WebUIClient, "http://elsewhere:7860")) == []
    left = OrphanedJobs(lambda url: client)
    assert left.look() == 1, "interrupted, and looked at again"
    assert server.wait_until_idle(PATIENCE), "stopped though its sampler is held"
    assert left.look() == 0
    assert not list((home / "inflight").iterdir())


def test_a_strangers_job_is_not_touched_while_the_dead_ones_waits_behind_it(
    server: EmbeddedWebUI, client: WebUIClient, home: Path
) -> None:
    server.steps.hold()
    stranger = Stranger(server)
    assert server.steps.wait_for(0, PATIENCE)
    killed_while_painting(server, home, "task(dead-2)")
    left = OrphanedJobs(lambda url: client)
    assert left.look() == 1
    assert not server.requests.of("POST", "/sdapi/v1/interrupt")
    assert list(orphans(WebUIClient)) == [], "it is ours now"
    server.steps.advance(3)
    assert stranger.done()
    assert stranger.answer["images"]
    until("the dead one's is on the GPU", lambda: server.tasks.current == "task(dead-2)")
    left.look()
    assert server.wait_until_idle(PATIENCE)
    assert left.look() == 0
    assert not list((home / "inflight").iterdir())


def test_a_job_that_is_only_decoded_is_not_interrupted(
    server: EmbeddedWebUI, client: WebUIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can't be stopped any more, and the interrupt might come when the next job has begun."""
    body = {"prompt": "x", "steps": 4, "width": 64, "height": 64, "force_task_id": "task(ours)"}
    job, painting = Job(client, "task(ours)"), threading.Thread(target=client.txt2img, args=(body,))
    server.steps.hold()
    server.steps.advance(3)
    painting.start()
    assert server.steps.wait_for(3, PATIENCE)
    server.state.sampling_step = 3  # the last one is done: this WebUI decodes in no time
    assert not job.stop()
    assert not server.requests.of("POST", "/sdapi/v1/interrupt")
    monkeypatch.setattr(jobs, "DECODES_WITHIN", 0.0)
    assert not job.stop()
    assert server.requests.of("POST", "/sdapi/v1/interrupt"), "decoding hangs, or the look misled"
    painting.join(PATIENCE)
    assert job.stop()


def test_a_living_requests_note_is_nobodys_orphan(client: WebUIClient, home: Path) -> None:
    with closing(Job(client, "task(alive)")) as job:
        job.mark_sent()
        assert len(list((home / "inflight").glob("*.json"))) == 1
        assert OrphanedJobs(lambda url: client).look() == 0
        assert len(list((home / "inflight").glob("*.json"))) == 1
    assert not list((home / "inflight").iterdir())


LEAVES = """
import sys
from gpu.job import Job
from webui.client import WebUIClient
Job(WebUIClient(sys.argv[1]), "task(gone)").mark_sent()
"""


def left_by_a_dead_process(url: str, home: Path) -> Path:
    """The note that it left."""
    environment = os.environ | {"DARKROOM_HOME": str(home)}
    subprocess.run([sys.executable, "-c", LEAVES, url], env=environment, check=True)
    (note,) = (home / "inflight").iterdir()
    return note


def test_without_internal_routes_nothing_is_interrupted(tmp_path: Path, home: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path / "webui", nowebui=True) as bare:
        note = left_by_a_dead_process(bare.url, home)
        assert OrphanedJobs(WebUIClient).look() == 0
        assert not bare.requests.of("POST", "/sdapi/v1/interrupt")
        assert not note.exists()


def test_a_webui_that_is_gone_keeps_the_note(home: Path) -> None:
    note = left_by_a_dead_process("http://127.0.0.1:9", home)
    assert OrphanedJobs(WebUIClient).look() == 1
    assert note.exists()


def test_a_note_that_cannot_be_read_is_removed(home: Path) -> None:
    note = left_by_a_dead_process("http://127.0.0.1:9", home)
    note.write_text("half a n")
    assert list(orphans(WebUIClient)) == []
    assert not note.exists()
