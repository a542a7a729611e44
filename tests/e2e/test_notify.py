"""What reaches a person at night, by a real receiver and the server that `darkroom up` starts."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.rest import darkroom as run
from tests.up import Up, fast
from tests.waiting import until

SECRET = "a-secret-part-of-the-address"
TXT2IMG = {"prompt": "a castle", "steps": 1, "width": 64, "height": 64, "seed": 5}


class Receiver:
    """A webhook on this machine, and what it was sent."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.texts.append(body["text"])
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/{SECRET}"

    def wait_for(self, *words: str) -> str:
        def found() -> str:
            return next((text for text in self.texts if all(word in text for word in words)), "")

        return until(f"a notice with {words}, not only {self.texts}", found)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    thread = threading.Thread(target=one.server.serve_forever)
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


def darkroom_notify(darkroom: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(fast(darkroom.home), "notify", *arguments)


def automations(darkroom: Up) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in darkroom.call("POST", "/automations/filter", {})}


@pytest.mark.timeout(400)
def test_a_failure_an_absent_webui_and_an_emptied_queue_reach_a_webhook(darkroom: Up, receiver: Receiver) -> None:
    done = darkroom_notify(darkroom, "--to", receiver.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(receiver.texts) == 1 and "notices are set up" in receiver.texts[0]
    before = automations(darkroom)
    switched_off = before["darkroom: a run failed"]
    darkroom.call("PATCH", f"/automations/{switched_off['id']}", {"enabled": False})
    again = darkroom_notify(darkroom, "--to", receiver.address)
    assert again.returncode == 0, again.stdout + again.stderr
    after = automations(darkroom)
    assert {name: one["id"] for name, one in after.items()} == {name: one["id"] for name, one in before.items()}
    assert not after["darkroom: a run failed"]["enabled"]
    darkroom.call("PATCH", f"/automations/{switched_off['id']}", {"enabled": True})

    darkroom.arm(kind="error", like="out of memory", path="/sdapi/v1/txt2img")
    failed = darkroom.start({"name": "too-large", "checkpoint": "photo", "txt2img": TXT2IMG})
    assert darkroom.ends(failed)["state_type"] == "FAILED"
    assert failed in receiver.wait_for("too-large", "Failed", "out of memory")
    # What other tests ran before is counted, too.
    assert re.search(r"\b[1-9]\d* failed\b", receiver.wait_for("queue is empty"))

    darkroom.arm(kind="error", status=503, body={"detail": "starting"}, path="/sdapi/v1/sd-models", times=None)
    receiver.wait_for("WebUI is away", "503")
    darkroom.webui.faults.disarm()
    receiver.wait_for("WebUI is back")

    done = darkroom_notify(darkroom, "--off")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not automations(darkroom)
    logs = "".join(path.read_text(errors="replace") for path in (darkroom.home / "logs").glob("*.log"))
    assert SECRET not in logs + done.stdout + done.stderr + json.dumps(after)


def test_a_receiver_that_refuses_is_said_without_its_address(darkroom: Up, receiver: Receiver) -> None:
    receiver.status = 404
    done = darkroom_notify(darkroom, "--to", receiver.address)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["the webhook answered 404: is its address right?"]
    assert SECRET not in done.stdout
    assert not automations(darkroom)
    for to in ("neither", "slack-webhook/missing", "webui/default"):
        done = darkroom_notify(darkroom, "--to", to)
        assert done.returncode == 1, to
        assert done.stderr.startswith(to) or "Unable to find" in done.stderr.splitlines()[0], done.stderr
        assert "Traceback" not in done.stderr
    assert darkroom_notify(darkroom).returncode == 2
