"""The command line, as a person or `make run` calls it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml

from cli.example import EXAMPLE, adapt_example
from flows.job import read_job
from store.settings import settings
from tests.rest import PROJECT, darkroom, environment, left_by
from tests.servers import Prefect, free_port, prefect_on, webui_is_idle
from tests.waiting import until
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI

DARKROOM = [sys.executable, "-m", "cli.app"]
LONG = {"prompt": "a lighthouse", "steps": 100, "width": 64, "height": 64, "seed": 7}  # still painting at a Ctrl-C


def small_job(folder: Path, **changes: object) -> Path:
    txt2img = {"prompt": "a lighthouse", "steps": 2, "width": 64, "height": 64, "seed": 7}
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump({"checkpoint": "photo", "txt2img": txt2img} | changes))
    return file


@pytest.mark.timeout(300)
def test_run_start_works_twice_and_leaves_nothing(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    users_home = tmp_path / "user"
    users_home.mkdir()
    for _ in range(2):
        done = darkroom(environment(tmp_path, HOME=str(users_home)), "run", str(job), "--start")
        assert done.returncode == 0, done.stdout + done.stderr
        (picture,) = [line for line in done.stdout.splitlines() if line.endswith(".png") and " " not in line]
        assert Path(picture).is_file()
        queued, *_, last = [
            line for line in done.stdout.splitlines() if "/runs/flow-run/" in line or "`make up`" in line
        ]
        assert "while it runs" in queued
        assert "http" not in last, "the last line links to a server that has stopped"
        assert not left_by(tmp_path)
    assert (tmp_path / "prefect" / "prefect.db").is_file()
    assert not (users_home / ".prefect").exists()


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({"steps": 3}, "steps"),
        ({"txt2img": {"prompt": "x", "width": 65}}, "width"),
        ({"init_images": ["nowhere.png"], "txt2img": None, "upscale": {"upscaler": "Lanczos"}}, "nowhere.png"),
    ],
)
def test_a_wrong_job_is_refused_with_the_field(deployed: Prefect, tmp_path: Path, job: dict, says: str) -> None:
    done = deployed.darkroom("run", str(small_job(tmp_path, **job)))
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_file_that_is_not_there_is_named(deployed: Prefect) -> None:
    done = deployed.darkroom("run", "no/such.yaml", "--start")
    assert done.returncode == 2
    assert "no/such.yaml" in done.stderr


def test_run_without_a_server_says_what_to_do(tmp_path: Path) -> None:
    done = darkroom(environment(tmp_path), "run", str(small_job(tmp_path)))
    assert done.returncode == 2
    assert "darkroom up" in done.stderr


@pytest.mark.parametrize("command", ["run", "plan", "worker"])
def test_an_unreachable_prefect_is_one_line(tmp_path: Path, command: str) -> None:
    api = f"http://127.0.0.1:{free_port()}/api"
    done = darkroom(environment(tmp_path, PREFECT_API_URL=api), command)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert api in line
    assert "Does it run" in line


@pytest.mark.long
@pytest.mark.timeout(300)
def test_an_empty_prefect_is_one_line_and_a_run_without_a_worker_says_so(
    painter: EmbeddedWebUI, tmp_path: Path
) -> None:
    with prefect_on(tmp_path) as prefect:
        for command in ("run", "plan", "worker"):
            done = prefect.darkroom(command)
            assert (done.returncode, done.stdout) == (2, ""), command
            (line,) = done.stderr.splitlines()
            assert "darkroom deploy" in line

        assert prefect.darkroom("deploy", "--webui", painter.url).returncode == 0
        log = tmp_path / "run.log"
        with log.open("w") as output:
            run = [*DARKROOM, "run", str(small_job(tmp_path))]
            running = subprocess.Popen(run, env=prefect.environment(), cwd=PROJECT, stdout=output, stderr=output)
        try:
            until("it says that no worker is there", lambda: "no worker is online in pool gpu" in log.read_text())
            with prefect.worker():
                assert running.wait(90) == 0, log.read_text()
        finally:
            running.kill()


def test_a_failed_run_says_why_in_a_few_lines_and_is_no_success(deployed: Prefect, tmp_path: Path) -> None:
    with deployed.worker():
        done = deployed.darkroom("run", str(small_job(tmp_path, checkpoint="no such thing")))
    assert done.returncode == 1
    assert "no such thing" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert 'File "' not in done.stdout
    assert len(done.stdout.splitlines()) <= 12, done.stdout
    assert "/runs/flow-run/" in done.stdout.splitlines()[-1]


def test_ctrl_c_leaves_the_run_in_the_queue_and_says_how_to_cancel(deployed: Prefect, tmp_path: Path) -> None:
    watching = subprocess.Popen(
        [*DARKROOM, "run", str(small_job(tmp_path, name="stays"))],
        env=deployed.environment(),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    until("it watches", lambda: "Scheduled" in watching.stdout.readline())
    watching.send_signal(signal.SIGINT)
    output, _ = watching.communicate(timeout=90)
    assert watching.returncode == 130
    [said] = [line for line in output.splitlines() if "stays in the queue" in line]
    run = said.split()[-1]
    assert deployed.run(run)["state_type"] == "SCHEDULED"
    done = deployed.darkroom(*said.partition("darkroom ")[2].split())
    assert (done.returncode, done.stdout) == (0, "stays: cancelled\n"), done.stderr
    assert deployed.run(run)["state_type"] == "CANCELLED"


@pytest.mark.timeout(300)
def test_ctrl_c_cancels_a_run_that_brought_its_worker_along(painter: EmbeddedWebUI, tmp_path: Path) -> None:
    painter.steps.step_time = 0.5
    log = tmp_path / "said.log"
    job = small_job(tmp_path, name="cancel-me", txt2img=LONG)
    try:
        with log.open("w") as output:
            watching = subprocess.Popen(
                [*DARKROOM, "run", str(job), "--start"],
                env=environment(tmp_path, DARKROOM_WEBUI_URL=painter.url),
                cwd=PROJECT,
                stdout=output,
                stderr=output,
            )
        until("it runs", lambda: "cancel-me: Running" in log.read_text() or watching.poll() is not None, 150)
        watching.send_signal(signal.SIGINT)
        watching.wait(90)
    finally:
        painter.steps.step_time = 0.0
    said = log.read_text()
    assert watching.returncode == 130, said
    assert "cancelling" in said
    assert "cancel-me: Cancelled" in said
    assert webui_is_idle(painter)
    assert not left_by(tmp_path)


def test_check_says_ok_or_what_to_do(deployed: Prefect, painter: EmbeddedWebUI) -> None:
    with deployed.worker():
        done = deployed.darkroom("check")
    assert done.returncode == 0, done.stdout
    assert "MISSING" not in done.stdout
    for word in ("Prefect", "work pool gpu", "worker", "generate/generate", "Forge", "ADetailer", "gallery"):
        assert word in done.stdout
    done = deployed.darkroom("check", DARKROOM_WEBUI_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "Is the WebUI running" in done.stdout


def test_check_without_a_server_starts_none(tmp_path: Path) -> None:
    done = darkroom(environment(tmp_path), "check")
    assert done.returncode == 1
    assert "darkroom up" in done.stdout
    assert "temporary server" not in done.stdout + done.stderr


def test_plan_changes_nothing_and_gives_reasons(deployed: Prefect, painter: EmbeddedWebUI) -> None:
    wanted = {"sd_model_checkpoint": "oil.safetensors"}
    assert requests.post(f"{painter.url}/sdapi/v1/options", json=wanted, timeout=10).ok
    runs = [deployed.queue(name, name=f"{number}-{name}") for number, name in enumerate(["oil", "ink", "oil"])]
    try:
        done = deployed.darkroom("plan")
        assert done.returncode == 0, done.stderr
        ours = [line for line in done.stdout.splitlines() if "-oil" in line or "-ink" in line]
        assert [line.split()[1] for line in ours] == ["0-oil", "2-oil", "1-ink"]
        assert "oil is loaded; before 1-ink" in ours[1]
        assert {deployed.run(run)["state_type"] for run in runs} == {"SCHEDULED"}
    finally:
        for run in runs:
            deployed.set_state(run, "CANCELLED", force=True)


def test_the_example_fits_a_webui_with_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = read_job(EXAMPLE)
    assert example.upscale is not None
    strange = example.model_copy(
        update={
            "checkpoint": "none has this",
            "adetailer": [one.model_copy(update={"ad_model": "nor_this.pt"}) for one in example.adetailer],
            "upscale": example.upscale.model_copy(update={"upscaler": "nor that"}),
        }
    )
    with EmbeddedWebUI(port=0, folder=tmp_path) as webui:
        monkeypatch.setattr(settings(), "webui_url", webui.url)
        client = WebUIClient(webui.url)
        said: list[str] = []
        job = adapt_example(strange, said.append)
        assert any(one.is_called(job.checkpoint) for one in client.checkpoints())
        assert job.adetailer[0].ad_model in client.adetailer_models()
        assert job.upscale is not None
        assert job.upscale.upscaler in {one.name for one in client.upscalers()}
        assert [line.split("'")[1] for line in said] == ["none has this", "nor that", "nor_this.pt"]
        said.clear()
        assert adapt_example(example, said.append) == example
        assert said == []


def test_the_example_shows_every_stage() -> None:
    job = read_job(EXAMPLE)
    assert job.txt2img and job.img2img and job.adetailer and job.upscale
    assert job.total >= 2


def test_the_readmes_job_is_the_example_in_short(tmp_path: Path) -> None:
    text = (PROJECT / "README.md").read_text()
    (block,) = [one for one in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "checkpoint:" in one]
    file = tmp_path / "readme.yaml"
    file.write_text(block)
    short, example = read_job(file), read_job(EXAMPLE)
    assert short.upscale == example.upscale
    assert short.img2img == example.img2img
    assert [one.ad_model for one in short.adetailer] == [one.ad_model for one in example.adetailer]
    assert (short.checkpoint, short.images) == (example.checkpoint, example.images)
