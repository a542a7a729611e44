"""One WebUI, several runs: by hand beside the pool, and from hosts that know nothing of each other."""

import re
import subprocess
import sys
from pathlib import Path

import yaml
from PIL import Image

from tests.rest import PROJECT
from tests.up import Up, fast
from tests.waiting import until

SMALL = {"steps": 6, "width": 64, "height": 64}


def by_hand(darkroom: Up, home: Path, name: str, checkpoint: str, **more: str) -> subprocess.Popen[str]:
    """``python -m flows.generate``, with the Prefect server of the darkroom."""
    job = {"name": name, "checkpoint": checkpoint, "images": 3}
    file = home / f"{name}.yaml"
    file.write_text(yaml.safe_dump(job | {"txt2img": {"prompt": "a castle", "seed": 1, **SMALL}}))
    return subprocess.Popen(
        [sys.executable, "-m", "flows.generate", str(file)],
        cwd=PROJECT,
        env=fast(home, DARKROOM_WEBUI_URL=darkroom.webui.url, PREFECT_API_URL=darkroom.api) | more,
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


def test_two_hosts_that_share_a_webui_get_their_own_pictures(darkroom: Up, tmp_path: Path) -> None:
    """Each host has its own leases, so only the requests themselves keep them apart."""
    darkroom.webui.steps.step_time = 0.02
    runs = {}
    for host, checkpoint in (("here", "ink"), ("there", "oil")):
        home, leases = tmp_path / host, tmp_path / f"{host}-leases"
        home.mkdir()
        leases.mkdir()
        runs[host] = by_hand(darkroom, home, host, checkpoint, TMPDIR=str(leases))
    for host, process in runs.items():
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, f"{host}: {output[-3000:]}"
    assert models(darkroom.gallery, "here") == ["ink"] * 3
    assert models(darkroom.gallery, "there") == ["oil"] * 3
    asked = {(method, path) for method, path, _, _ in list(darkroom.webui.requests)[darkroom.asked_before :]}
    assert ("POST", "/sdapi/v1/interrupt") not in asked
    assert ("POST", "/sdapi/v1/options") not in asked, "which would switch a stranger's model"


def test_a_run_by_hand_waits_for_the_lease_and_says_for_whom(darkroom: Up, tmp_path: Path) -> None:
    darkroom.webui.steps.step_time = 1.0  # it paints for longer than the other takes to start
    first = darkroom.start({"name": "pooled", "checkpoint": "ink", "txt2img": {"prompt": "x", **SMALL, "steps": 150}})
    until("the pool's run paints", darkroom.painted)
    home = tmp_path / "home"
    home.mkdir()
    process = by_hand(darkroom, home, "handmade", "ink")
    body = {"flow_runs": {"name": {"any_": ["handmade"]}}, "limit": 1}
    waiting = until(
        "it says that it waits",
        lambda: [run for run in darkroom.call("POST", "/flow_runs/filter", body) if run["state_name"] == "Waiting"],
    )
    said = rf"the GPU is with the run 'pooled' \({first}, process \d+\)"
    assert re.fullmatch(said, waiting[0]["state"]["message"])
    run = waiting[0]["id"]
    # The server writes down once a second what tasks do, and Prefect names a task run late.
    until("preflight is done", lambda: "preflight" in {name.partition("-")[0] for name in darkroom.task_names(run)})
    assert darkroom.call("GET", f"/flow_runs/{run}")["state_name"] == "Waiting", "what needs no GPU is done by then"
    darkroom.set_state(first, "CANCELLING")
    darkroom.webui.steps.step_time = 0.0
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output[-3000:]
    assert models(darkroom.gallery, "handmade") == ["ink"] * 3
