"""One WebUI, several runs: by hand beside the pool, and from hosts that know nothing of each other."""

import subprocess
import sys
from pathlib import Path

import yaml
from PIL import Image

from tests.e2e.conftest import PROJECT, House, environment, until

SMALL = {"steps": 6, "width": 64, "height": 64}


def by_hand(house: House, home: Path, name: str, checkpoint: str, **more: str) -> subprocess.Popen[str]:
    """``python -m flows.generate``, with the Prefect server of the house."""
    job = {"name": name, "checkpoint": checkpoint, "images": 3}
    file = home / f"{name}.yaml"
    file.write_text(yaml.safe_dump(job | {"txt2img": {"prompt": "a castle", "seed": 1, **SMALL}}))
    return subprocess.Popen(
        [sys.executable, "-m", "flows.generate", str(file)],
        cwd=PROJECT,
        env=environment(home, DARKROOM_WEBUI_URL=house.webui.url, PREFECT_API_URL=house.api) | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def models(gallery: Path, name: str) -> list[str]:
    """What the infotexts of a job's pictures say painted them."""
    found = []
    for path in sorted(gallery.rglob(f"{name}-*.png")):
        with Image.open(path) as image:
            found.append(image.info["parameters"].partition("Model: ")[2].partition(",")[0])
    return found


def test_two_hosts_that_share_a_webui_get_their_own_pictures(house: House, tmp_path: Path) -> None:
    """Each host has its own leases, so only the requests themselves keep them apart."""
    house.webui.steps.step_time = 0.02
    runs = {}
    for host, checkpoint in (("here", "ink"), ("there", "oil")):
        home, leases = tmp_path / host, tmp_path / f"{host}-leases"
        home.mkdir()
        leases.mkdir()
        runs[host] = by_hand(house, home, host, checkpoint, TMPDIR=str(leases))
    for host, process in runs.items():
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, f"{host}: {output[-3000:]}"
    assert models(house.gallery, "here") == ["ink"] * 3
    assert models(house.gallery, "there") == ["oil"] * 3
    asked = {(method, path) for method, path, _, _ in list(house.webui.requests)[house.asked_before :]}
    assert ("POST", "/sdapi/v1/interrupt") not in asked
    assert ("POST", "/sdapi/v1/options") not in asked, "which would switch a stranger's model"


def test_a_run_by_hand_waits_for_the_lease_and_says_for_whom(house: House, tmp_path: Path) -> None:
    house.webui.steps.step_time = 0.1
    first = house.start({"name": "pooled", "checkpoint": "ink", "txt2img": {"prompt": "x", **SMALL, "steps": 150}})
    until("the pool's run paints", house.painted)
    home = tmp_path / "home"
    home.mkdir()
    process = by_hand(house, home, "handmade", "ink")
    body = {"flow_runs": {"name": {"any_": ["handmade"]}}, "limit": 1}
    waiting = until(
        "it says that it waits",
        lambda: [run for run in house.call("POST", "/flow_runs/filter", body) if run["state_name"] == "Waiting"],
    )
    assert waiting[0]["state"]["message"] == f"the GPU is with the run 'pooled' ({first})"
    run = waiting[0]["id"]
    # The server writes down once a second what tasks do, and Prefect names a task run late.
    until("preflight is done", lambda: "preflight" in {name.partition("-")[0] for name in house.task_names(run)})
    assert house.call("GET", f"/flow_runs/{run}")["state_name"] == "Waiting", "what needs no GPU is done by then"
    house.set_state(first, "CANCELLING")
    house.webui.steps.step_time = 0.0
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output[-3000:]
    assert models(house.gallery, "handmade") == ["ink"] * 3
