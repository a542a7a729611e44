"""What a page that the user has open beside Prefect's can do to it: nothing. In Chromium, against `darkroom up`."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.up import Up

JOB = {"checkpoint": "photo", "txt2img": {"prompt": "a castle", "steps": 1, "width": 64, "height": 64, "seed": 5}}
PASSWORD = "the-password-of-the-webui"
ATTACK = """
async ({api, deployment}) => {
  const said = {};
  const text = {method: "POST", body: JSON.stringify({include_secrets: true})};
  const json = {...text, headers: {"Content-Type": "application/json"}};
  const secrets = api + "/block_documents/filter";
  const asked = {json: [secrets, json], text: [secrets, text], opaque: [secrets, {...text, mode: "no-cors"}],
    bodyless: [`${api}/deployments/${deployment}/pause_deployment`, {method: "POST", mode: "no-cors"}]};
  for (const [name, [url, how]] of Object.entries(asked)) {
    try { said[name] = await (await fetch(url, how)).text(); } catch (error) { said[name] = String(error); }
  }
  said.socket = await new Promise(resolve => {
    const socket = new WebSocket(api.replace("http", "ws") + "/logs/out", "prefect");
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("refused");
  });
  said.picture = await new Promise(resolve => {
    const picture = new Image();
    picture.onload = () => resolve("loaded");
    picture.onerror = () => resolve("refused");
    picture.src = api.replace("/api", "/favicon.ico");
  });
  return said;
}
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of another web server of this machine, whose one page is empty."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "index.html").write_text("<!doctype html><title>harmless</title>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def with_a_password(darkroom: Up) -> Iterator[None]:
    kind = darkroom.call("GET", "/block_types/slug/webui")["id"]
    [schema] = darkroom.call("POST", "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind]}}})
    block = {"name": "guarded", "block_type_id": kind, "block_schema_id": schema["id"]}
    block["data"] = {"base_url": "http://127.0.0.1:9", "user": "me", "password": PASSWORD}
    made = darkroom.call("POST", "/block_documents/", block)
    assert PASSWORD in str(darkroom.call("POST", "/block_documents/filter", {"include_secrets": True}))
    yield
    darkroom.call("DELETE", f"/block_documents/{made['id']}")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "another.localhost"])
def test_a_page_of_another_origin_gets_nothing_and_does_nothing(
    darkroom: Up, with_a_password: None, page: Page, elsewhere: str, name: str
) -> None:
    deployment = darkroom.deployment("generate/every-six-hours")["id"]
    page.goto(f"http://{elsewhere.replace('127.0.0.1', name)}/")
    said = page.evaluate(ATTACK, {"api": darkroom.api, "deployment": deployment})
    assert said.pop("socket") == said.pop("picture") == "refused"
    assert said == {"json": said["json"], "text": said["text"], "opaque": "", "bodyless": ""}
    assert "Failed to fetch" in said["json"]
    assert "Failed to fetch" in said["text"]
    assert darkroom.deployment("generate/every-six-hours")["paused"] is False


def test_a_name_that_is_made_to_point_here_is_no_way_in(darkroom: Up, page: Page) -> None:
    """DNS rebinding: to the browser the page and the API are of one origin, and only the Host header tells."""
    rebound = darkroom.api.replace("127.0.0.1", "rebound.localhost")
    answer = page.goto(f"{rebound}/block_types/filter")
    assert answer is not None
    assert answer.status == 403
    assert "DARKROOM_PUBLIC_ADDRESS" in answer.text()


def test_the_servers_own_pages_work_under_both_names_and_from_a_link(darkroom: Up, page: Page, elsewhere: str) -> None:
    for name in ("127.0.0.1", "localhost"):
        page.goto(f"{darkroom.api.removesuffix('/api').replace('127.0.0.1', name)}/deployments")
        expect(page.get_by_text("every-six-hours").first).to_be_visible(timeout=30_000)
    page.goto(f"http://{elsewhere}/")
    page.set_content(f'<a href="{darkroom.api.removesuffix("/api")}/deployments">Prefect</a>')
    page.get_by_text("Prefect").click()
    expect(page.get_by_text("every-six-hours").first).to_be_visible(timeout=30_000)


def test_nobody_but_its_owner_can_look_into_the_projects_state(darkroom: Up) -> None:
    """Prefect's database holds the passwords of blocks, and its key lies in the same folder."""
    assert darkroom.home.stat().st_mode & 0o777 == 0o700
    assert (darkroom.home / "prefect" / "prefect.db").is_file()


def test_the_server_listens_on_loopback_only(darkroom: Up) -> None:
    port = int(darkroom.api.removesuffix("/api").rpartition(":")[2])
    others = [
        one.address
        for addresses in psutil.net_if_addrs().values()
        for one in addresses
        if one.family.name == "AF_INET" and not one.address.startswith("127.")
    ]
    for address in others:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://{address}:{port}/api/health", timeout=10)


def test_no_secret_is_in_a_command_line_or_a_log(darkroom: Up, with_a_password: None) -> None:
    for process in psutil.process_iter(["cmdline"]):
        assert PASSWORD not in " ".join(process.info["cmdline"] or [])
    for log in Path(darkroom.home / "logs").iterdir():
        assert PASSWORD not in log.read_text(errors="replace")


def test_a_run_writes_and_reads_in_stated_folders_only(darkroom: Up, tmp_path: Path) -> None:
    """Each of them did as it was told before: a picture in any folder, a picture and lines of a file from any."""
    outside = tmp_path / "outside"
    written = darkroom.start(JOB, gallery={"folder": str(outside)})
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    from_picture = {"checkpoint": "photo", "init_images": [str(tmp_path / "a.png")], "img2img": {"prompt": "a castle"}}
    read = darkroom.start(from_picture)
    (tmp_path / "secrets.csv").write_text("a-secret-line,checkpoint\nx,y\n")
    listed = darkroom.start({}, "batch/batch", file=str(tmp_path / "secrets.csv"))
    for run, says in (
        (written, "gallery: choose a saved block"),
        (read, "no such file in"),
        (listed, "no such file in"),
    ):
        ended = darkroom.ends(run)
        assert ended["state_type"] == "FAILED"
        assert says in ended["state"]["message"], ended["state"]["message"]
        assert "a-secret-line" not in str(darkroom.logs(run)) + ended["state"]["message"]
    assert not outside.exists()
    assert not darkroom.painted()
    saved = {"$ref": {"block_document_slug": "gallery/default"}}
    assert darkroom.ends(darkroom.start(JOB, gallery=saved))["state_type"] == "COMPLETED"
