"""What a dead run left on the GPU is stopped; what lives, or is somebody else's, is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from gpu.inflight import InFlight, clear_orphans, orphans
from tests.requesting import PATIENCE, Stranger, until
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI

PAINTS = """
import sys
from contextlib import closing
from gpu.inflight import InFlight
from webui.client import WebUIClient
url, task = sys.argv[1:]
with closing(InFlight(url, task)):
    print("sent", flush=True)
    body = {"prompt": "x", "steps": 50, "width": 64, "height": 64, "force_task_id": task}
    WebUIClient(url).txt2img(body)
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
        queued = WebUIClient(server.url)
        until("it is at the WebUI", lambda: (p := queued.task_progress(task)) and (p.active or p.queued))
        assert list(orphans()) == [], "its process lives"
    finally:
        process.kill()
        process.wait()
        process.stdout.close() if process.stdout else None


def test_the_job_of_a_killed_process_is_stopped(server: EmbeddedWebUI, client: WebUIClient, home: Path) -> None:
    server.steps.hold()
    killed_while_painting(server, home, "task(dead)")
    assert [(url, task) for _, url, task in orphans(server.url)] == [(server.url, "task(dead)")]
    assert list(orphans("http://elsewhere:7860")) == []
    clear_orphans(client)
    assert server.wait_until_idle(PATIENCE), "stopped though its sampler is held"
    assert list(orphans()) == []


def test_a_strangers_job_is_not_touched_while_the_dead_ones_waits_behind_it(
    server: EmbeddedWebUI, client: WebUIClient, home: Path
) -> None:
    server.steps.hold()
    stranger = Stranger(server)
    assert server.steps.wait_for(0, PATIENCE)
    killed_while_painting(server, home, "task(dead-2)")
    clear_orphans(client)
    assert not server.requests.of("POST", "/sdapi/v1/interrupt")
    assert [task for _, _, task in orphans()] == ["task(dead-2)"], "for the next look"
    server.steps.advance(3)
    assert stranger.done()
    assert stranger.answer["images"]
    until("the dead one's is on the GPU", lambda: server.tasks.current == "task(dead-2)")
    clear_orphans(client)
    assert server.wait_until_idle(PATIENCE)
    assert list(orphans()) == []


def test_a_living_requests_note_is_nobodys_orphan(server: EmbeddedWebUI, client: WebUIClient) -> None:
    with closing(InFlight(server.url, "task(alive)")) as living:
        assert living.path.exists()
        assert list(orphans()) == []
        clear_orphans(client)
        assert living.path.exists()
    assert not living.path.exists()


def test_without_internal_routes_nothing_is_interrupted(tmp_path: Path, home: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path / "webui", nowebui=True) as bare:
        note = home / "inflight" / "gone.json"
        note.parent.mkdir(parents=True)
        note.write_text(json.dumps({"base_url": bare.url, "task_id": "task(gone)"}))
        clear_orphans(WebUIClient(bare.url))
        assert not bare.requests.of("POST", "/sdapi/v1/interrupt")
        assert not note.exists()


def test_a_webui_that_is_gone_keeps_the_note(home: Path) -> None:
    note = home / "inflight" / "gone.json"
    note.parent.mkdir(parents=True)
    note.write_text('{"base_url": "http://127.0.0.1:9", "task_id": "task(gone)"}')
    clear_orphans(WebUIClient("http://127.0.0.1:9"))
    assert note.exists()
    note.write_text("half a n")
    assert list(orphans()) == []
    assert not note.exists(), "what cannot be read helps nobody"
