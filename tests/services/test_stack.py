"""`darkroom up` as a person starts it, with parts that are killed under it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.rest import PROJECT, darkroom, environment, left_by
from tests.servers import Prefect, free_port
from tests.waiting import until
from webui.embedded.server import EmbeddedWebUI

DARKROOM = [sys.executable, "-m", "cli.app"]
UP_WITHIN = 150.0  # seconds; a first start creates the database


@contextmanager
def up(folder: Path, variables: dict[str, str]) -> Iterator[Path]:
    """A running `darkroom up`; gives the file with what it says."""
    log = folder / "up.log"
    with log.open("w") as output:
        process = subprocess.Popen([*DARKROOM, "up"], env=variables, cwd=PROJECT, stdout=output, stderr=output)
    try:
        until("it is up", lambda: "Ctrl-C stops" in log.read_text() or process.poll() is not None, UP_WITHIN)
        assert process.poll() is None, log.read_text()
        yield log
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def record(home: Path) -> dict[str, Any]:
    return json.loads((home / "up.json").read_text())


@pytest.mark.long
@pytest.mark.timeout(400)
def test_each_part_that_is_killed_comes_back_at_its_address(tmp_path: Path) -> None:
    with up(tmp_path, environment(tmp_path)) as log:
        second = darkroom(environment(tmp_path), "up")
        assert second.returncode == 1
        assert "up already" in second.stderr
        before = record(tmp_path)
        prefect = Prefect(before["api_url"], tmp_path)
        for pid, _ in before["processes"]:
            os.kill(pid, signal.SIGKILL)
        for name in ("the Prefect server", "the embedded WebUI", "the worker"):
            until(
                f"{name} is named", lambda name=name: f"{name} was killed by signal 9: started again" in log.read_text()
            )
        until("the server answers", lambda: _answers(f"{before['api_url']}/health"))
        until("the WebUI answers", lambda: _answers(f"{before['webui_url']}/sdapi/v1/progress"))
        assert prefect.ends(prefect.queue(), 120) == "COMPLETED"
        after = record(tmp_path)
        assert (after["api_url"], after["webui_url"]) == (before["api_url"], before["webui_url"])
        assert {pid for pid, _ in after["processes"]}.isdisjoint({pid for pid, _ in before["processes"]})
    assert not left_by(tmp_path)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def test_a_webui_that_does_not_answer_is_named_and_the_rest_starts(
    deployed: Prefect, painter: EmbeddedWebUI, tmp_path: Path
) -> None:
    assert deployed.darkroom("deploy", "--webui", "http://127.0.0.1:9").returncode == 0
    try:
        with up(tmp_path, deployed.environment()) as log:
            said = log.read_text()
            assert "http://127.0.0.1:9" in said
            assert "the block webui/default" in said
            assert "darkroom up --webui" in said
    finally:
        assert deployed.darkroom("deploy", "--webui", painter.url).returncode == 0


def test_a_server_of_the_prefect_profile_is_used_and_named(deployed: Prefect, tmp_path: Path) -> None:
    (tmp_path / ".prefect").mkdir()
    profile = f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{deployed.api}"\nPREFECT_API_KEY = "a-secret"\n'
    (tmp_path / ".prefect" / "profiles.toml").write_text(profile)
    done = darkroom(environment(tmp_path / "home", HOME=str(tmp_path)), "deploy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Prefect: {deployed.api}, from Prefect's own settings (profile 'mine'" in done.stdout
    assert "a-secret" not in done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / ".prefect").iterdir()) == ["profiles.toml"]


SECRET = "me:a-long-secret"


def an_address_of_this_machine() -> str:
    every = [
        one.address for several in psutil.net_if_addrs().values() for one in several if one.family.name == "AF_INET"
    ]
    return next((address for address in every if not address.startswith("127.")), "127.0.0.2")


def test_a_public_address_without_a_password_is_refused(tmp_path: Path) -> None:
    done = darkroom(environment(tmp_path, DARKROOM_PUBLIC_ADDRESS=f"http://127.0.0.1:{free_port()}"), "up")
    assert done.returncode == 1
    assert "set PREFECT_SERVER_API_AUTH_STRING=user:password" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(400)
def test_a_public_address_is_served_to_who_knows_the_password(tmp_path: Path) -> None:
    """Worker, bootstrap, command line and the run itself use the password; it is in no log and no command line."""
    public = f"http://{an_address_of_this_machine()}:{free_port()}"
    variables = environment(tmp_path, DARKROOM_PUBLIC_ADDRESS=public, PREFECT_SERVER_API_AUTH_STRING=SECRET)
    with up(tmp_path, variables) as log:
        assert f"Prefect  {public}" in log.read_text()
        work_pools = f"{public}/api/work_pools/filter"
        assert requests.get(f"{public}/api/health", timeout=30).ok
        assert requests.post(work_pools, json={}, timeout=30).status_code == 401
        known = requests.post(work_pools, json={}, auth=("me", "a-long-secret"), timeout=30)
        assert [pool["name"] for pool in known.json()] == ["gpu"]
        assert requests.get(f"{public}/ui-settings", timeout=30).json()["api_url"] == f"{public}/api"
        evil = requests.post(work_pools, json={}, headers={"Origin": "http://evil.example"}, timeout=30)
        assert evil.status_code == 403
        # The queue is under the same name; a client of the WebUI's API says who it is by its user name.
        [queue] = re.findall(r"^queue +(\S+)", log.read_text(), re.MULTILINE)
        assert queue.rpartition(":")[0] == public.rpartition(":")[0]
        status = f"{queue}/task-scheduler/status"
        assert requests.get(status, timeout=30).status_code == 401
        krita = ("krita", "a-long-secret")
        assert requests.get(status, auth=krita, headers={"Origin": queue}, timeout=30).ok
        assert (
            requests.get(status, auth=krita, headers={"Origin": "http://evil.example"}, timeout=30).status_code == 403
        )
        (tmp_path / "job.yaml").write_text(
            "checkpoint: ink\ntxt2img: {prompt: a castle, steps: 1, width: 64, height: 64}\n"
        )
        ran = darkroom(variables, "run", str(tmp_path / "job.yaml"), within=180)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert f"{public}/runs/flow-run/" in ran.stdout
        checked = darkroom(variables | {"PREFECT_SERVER_API_AUTH_STRING": ""}, "check")
        assert "PREFECT_API_AUTH_STRING" in checked.stdout
        assert "a-long-secret" not in log.read_text() + ran.stdout + ran.stderr + checked.stdout
        for process in left_by(tmp_path):
            assert "a-long-secret" not in " ".join(process.cmdline())
        for path in (tmp_path / "logs").iterdir():
            assert "a-long-secret" not in path.read_text(errors="replace")
