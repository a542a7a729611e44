"""The server: starting, stopping, its flags, AUTOMATIC1111's ways, what is served."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from processes import start_process
from served import as_markdown
from talking import PATIENCE

from webui.embedded.server import EmbeddedWebUI, PortInUse

DOCUMENT = Path(__file__).parents[3] / "docs" / "embedded-webui.md"


def test_it_says_where_it_is_when_it_really_answers_and_ends_cleanly(tmp_path) -> None:
    log = tmp_path / "jobs.jsonl"
    process, url = start_process(tmp_path / "webui", "--job-log", str(log), "--step-time", "0.001")
    try:
        body = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "force_task_id": "task(logged)"}
        assert requests.post(f"{url}/sdapi/v1/txt2img", json=body, timeout=PATIENCE).ok
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert process.stdout
        process.stdout.close()
    (line,) = log.read_text().splitlines()
    turn = json.loads(line)
    assert set(turn) == {"task", "kind", "start", "end", "checkpoint", "loaded"}
    assert (turn["task"], turn["kind"], turn["checkpoint"]) == ("task(logged)", "txt2img", "photo")
    assert turn["start"] < turn["end"]


def test_a_port_in_use_is_named_with_what_to_do(tmp_path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "webui.embedded", "--port", str(port), "--folder", str(tmp_path)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert ended.returncode == 1
        assert f"port {port}" in ended.stderr
        assert "--port" in ended.stderr
        with pytest.raises(PortInUse):
            EmbeddedWebUI(port=port, folder=tmp_path).start()


def test_a_temporary_folder_goes_with_the_server() -> None:
    with EmbeddedWebUI() as server:
        assert list(server.folder.rglob("*.safetensors"))
    assert not server.folder.exists()


def test_stopping_ends_a_job_at_its_next_step(start) -> None:
    webui = start(step_time=0.05)
    job = webui.in_background(steps=5000)
    assert webui.server.job_queue.wait_for_job(1, PATIENCE)
    webui.server.stop()
    assert not webui.server.job_queue.busy
    job.exception(PATIENCE)


def test_everything_it_received_is_listed_without_the_pictures(start) -> None:
    webui = start()
    webui.generate(force_task_id="task(seen)", prompt="x" * 5000)
    webui.get("/sdapi/v1/sd-models")
    (method, path, task, body), listed = webui.server.requests
    assert (method, path, task) == ("POST", "/sdapi/v1/txt2img", "task(seen)")
    assert body and len(body["prompt"]) < 100
    assert listed == ("GET", "/sdapi/v1/sd-models", None, None)


def test_without_its_page_it_has_no_internal_routes(start) -> None:
    bare = start(nowebui=True)
    assert bare.get("/internal/pending-tasks").status_code == 404
    assert bare.post("/internal/progress", {"id_task": "x"}).status_code == 404
    assert bare.progress()["progress"] == 0


def test_stopping_over_the_api_closes_the_port_and_nothing_else(start) -> None:
    webui = start(can_stop=True)
    again = webui.post("/sdapi/v1/server-restart")
    assert (again.status_code, again.content) == (501, b"")
    stopped = webui.post("/sdapi/v1/server-stop")
    assert (stopped.status_code, stopped.text) == (200, "Stopping.")
    assert webui.server.wait_until_stopped(PATIENCE)
    with pytest.raises(requests.ConnectionError):
        webui.get("/sdapi/v1/progress")


def test_nobody_stops_it_unasked(webui) -> None:
    for command in ("stop", "kill", "restart"):
        assert webui.post(f"/sdapi/v1/server-{command}").status_code == 404


def test_flags_fail_when_a_port_was_given(start) -> None:
    given = start()
    answer = given.get("/sdapi/v1/cmd-flags")
    assert (answer.status_code, answer.json()["error"]) == (500, "ResponseValidationError")
    assert start(port=None).get("/sdapi/v1/cmd-flags").json()["port"] is None


@pytest.mark.parametrize(
    ("path", "length"),
    [
        ("samplers", 25),
        ("schedulers", 16),
        ("upscalers", 12),
        ("latent-upscale-modes", 6),
        ("face-restorers", 2),
        ("realesrgan-models", 6),
        ("prompt-styles", 3),
        ("script-info", 42),
        ("hypernetworks", 0),
        ("extensions", 0),
        ("loras", 0),
    ],
)
def test_lists(webui, path: str, length: int) -> None:
    assert len(webui.get(f"/sdapi/v1/{path}").json()) == length


def test_memory_and_little_things(webui) -> None:
    memory = webui.get("/sdapi/v1/memory").json()
    assert memory["ram"]["free"] + memory["ram"]["used"] == pytest.approx(memory["ram"]["total"])
    assert memory["cuda"] == {"error": "unavailable"}
    assert webui.post("/sdapi/v1/unload-checkpoint").json() == {}
    for what in ("embeddings", "vae", "loras"):
        assert webui.post(f"/sdapi/v1/refresh-{what}").json() is None
    assert webui.get("/internal/ping").json() == {}
    assert len(webui.get("/internal/quicksettings-hint").json()) == 331


def test_a_body_that_is_no_json(webui) -> None:
    answer = requests.post(f"{webui.server.url}/sdapi/v1/txt2img", data=b"{", timeout=PATIENCE)
    (error,) = answer.json()["detail"]
    assert (answer.status_code, error["type"], "url" in error) == (422, "json_invalid", False)


def test_loras_are_files_in_a_folder(start) -> None:
    webui = start()
    (webui.server.engine.lora_folder / "soft.safetensors").write_bytes(b"")
    (lora,) = webui.get("/sdapi/v1/loras").json()
    assert (lora["name"], lora["alias"]) == ("soft", "soft")


# -- AUTOMATIC1111's ways (by its source) --------------------------------------------------------------


def test_automatic1111_loads_before_it_answers(start) -> None:
    old = start(forge=False)
    assert old.post("/sdapi/v1/options", {"sd_model_checkpoint": "oil.safetensors"}).status_code == 200
    assert old.server.engine.loader.loads == 1
    assert old.get("/sdapi/v1/options").json()["sd_checkpoint_hash"]
    assert old.info()["sd_model_name"] == "oil"
    assert old.server.engine.loader.loads == 1


def test_automatic1111_refuses_what_forge_lets_pass(start) -> None:
    old = start(forge=False)
    unknown = old.generate(sampler_name="NoSuch")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Sampler not found"})
    override = old.generate(override_settings={"sd_model_checkpoint": "nope"})
    assert (override.status_code, override.json()["error"]) == (500, "RuntimeError")
    assert old.get("/sdapi/v1/sd-vae").json() == []
    assert old.get("/sdapi/v1/sd-modules").status_code == 404


# -- the document --------------------------------------------------------------------------------------


def test_the_document_lists_what_is_served() -> None:
    _, _, rest = DOCUMENT.read_text().partition("<!-- served: generated from tests/webui/embedded/served.py -->\n")
    table, _, _ = rest.partition("<!-- /served -->")
    assert table == as_markdown(), "run python tests/webui/embedded/served.py"
