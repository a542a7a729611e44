"""The Pictures screen as a person uses it, in Chromium, and the routes that it stands on."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from playwright.sync_api import Page, expect

from tests.gateway.conftest import Gateway
from tests.gateway.page.conftest import Open
from tests.servers import until

HOSTILE = '<img src=x onerror=alert(1)> "it\'s" & ü\nnext'
TXT2IMG = {"prompt": "a lighthouse {at dusk|at dawn}", "steps": 2, "width": 64, "height": 64, "seed": 41}


@pytest.fixture(scope="module")
def gallery(served: Gateway) -> Path:
    """A picture that the queue made, and some that were put there."""
    job = {"name": "lights", "checkpoint": "ink", "txt2img": TXT2IMG, "upscale": {"upscaler": "Lanczos", "factor": 2}}
    task = served.call("POST", "/task-scheduler/queue", job, status=201)["id"]
    until("it is painted", lambda: served.call("GET", f"/task-scheduler/queue/{task}")["status"] == "completed")
    folder = served.prefect.home / "gallery"
    for number in range(3):
        _put(folder / "boats" / f"boat-{number}.png", f"a felucca, number {number}", number)
    _put(folder / "hostile" / f"{HOSTILE.replace('/', '')}.png", f"a felucca, {HOSTILE}", 9)
    return folder


def _put(file: Path, prompt: str, seed: int) -> None:
    file.parent.mkdir(exist_ok=True)
    Image.new("RGB", (320, 200), (40 * seed % 255, 90, 160)).save(file)
    picture = {"seed": seed, "stage": "txt2img", "checkpoint": "photo", "width": 320, "height": 200}
    about = {"picture": picture, "infotext": f"{prompt}\nSteps: 2, Sampler: Euler, Seed: {seed}", "job": prompt[:6]}
    file.with_suffix(".json").write_text(json.dumps(about))


def test_pictures_thumbnails_and_zip_files_by_address(gateway: Gateway, gallery: Path) -> None:
    [task] = [
        one
        for one in gateway.call("GET", "/task-scheduler/queue?status=completed")["history"]
        if one["name"] == "lights"
    ]
    [found] = gateway.call("GET", f"/task-scheduler/queue/{task['id']}/pictures")
    assert requests.get(gateway.url + found["picture"], timeout=30).content == (gallery / found["path"]).read_bytes()
    answer = requests.get(f"{gateway.url}{found['thumbnail'].partition('?')[0]}?size=192", timeout=30)
    assert Image.open(io.BytesIO(answer.content)).size == (128, 128)
    again = {"If-None-Match": answer.headers["ETag"]}
    assert requests.get(answer.url, headers=again, timeout=30).status_code == 304
    assert requests.get(f"{gateway.url}/pictures/thumb/{quote(found['path'])}?size=5000", timeout=30).status_code == 422
    paths = [found["path"], f"hostile/{HOSTILE}.png"]
    packed = requests.get(f"{gateway.url}/pictures/zip", params={"path": paths}, timeout=30)
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 4
        assert archive.read(paths[1]) == (gallery / paths[1]).read_bytes()
    gateway.call("GET", "/pictures/zip?path=../worker.log", status=404)


SEGMENTS = st.one_of(
    st.text(max_size=8), st.sampled_from(["..", ".", "%2e%2e", "\0", "~", "gateway.log", "boats", "prefect", "x" * 300])
)


@given(st.sampled_from(["", "thumb/", "zip?path="]), st.lists(SEGMENTS, min_size=1, max_size=5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_path_of_the_routes_leads_out_of_the_gallery(
    served: Gateway, gallery: Path, route: str, segments: list[str], encoded: bool
) -> None:
    path = quote("/".join(segments), safe="" if encoded else "/", errors="replace")
    request = requests.Request("GET", served.url).prepare()
    request.url = f"{served.url}/pictures/{route}{path}"  # as it stands: a client would take dot segments out
    with requests.Session() as session:
        answer = session.send(request, timeout=30)
    assert answer.status_code in (400, 404, 422), answer.text[:200]


def card(page: Page, name: str):
    return page.get_by_role("button", name=f"Open {name}")


def test_star_filter_and_a_view_by_its_address(open_page: Open, gallery: Path) -> None:
    page = open_page("/gallery")
    card(page, "boat-1").focus()
    page.keyboard.press("s")
    until("the star lies beside the picture", (gallery / "boats" / "boat-1.star").exists)
    page.get_by_role("checkbox", name="Starred", exact=True).click()
    expect(page.locator(".shot")).to_have_count(1)
    assert page.url.endswith("/gallery?star=1")
    page = open_page("/gallery?star=1")
    expect(page.locator(".shot")).to_have_count(1)
    page.get_by_role("checkbox", name="Starred", exact=True).click()
    page.get_by_label("Words of the prompt").fill("FELUCCA number")
    expect(page.locator(".shot")).to_have_count(3)
    page = open_page(f"/gallery?job=lights&picture={quote('hostile/' + HOSTILE + '.png')}")
    expect(page.get_by_role("dialog", name="Picture")).to_contain_text("<img src=x onerror=alert(1)>")
    page.keyboard.press("Escape")
    expect(page.locator(".shot")).to_have_count(1)


def test_reject_undo_and_the_bin(open_page: Open, gallery: Path) -> None:
    boat = gallery / "boats" / "boat-0.png"
    page = open_page("/gallery?words=felucca")
    card(page, "boat-2").focus()
    page.keyboard.press("ArrowRight")  # older by its time: boat-1, then boat-0
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    expect(page.locator(".shot")).to_have_count(3)
    assert not boat.exists()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".shot")).to_have_count(4)
    card(page, "boat-0").click()
    page.get_by_role("dialog", name="Picture").get_by_role("button", name="Reject").click()
    until("it is in the bin", lambda: not boat.exists())
    page = open_page("/gallery?bin=1")
    page.get_by_role("button", name="Restore boat-0").click(force=True)
    until("it is back", boat.exists)
    expect(page.locator(".shot")).to_have_count(0)
    page = open_page("/gallery?words=number")
    for name in ("boat-0", "boat-1"):
        page.get_by_role("checkbox", name=f"Choose {name}").click(force=True)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("row", name="Seed")).to_have_text("Seed 0 1", use_inner_text=True)
    page.keyboard.press("Escape")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {Path(name).name for name in archive.namelist()} == {
            f"boat-{n}.{e}" for n in "01" for e in ("png", "json")
        }
    page.get_by_role("button", name="Reject", exact=True).click()
    until("both are in the bin", lambda: not boat.exists())
    page = open_page("/gallery?bin=1")
    expect(page.locator(".shot")).to_have_count(2)
    page.get_by_role("button", name="Empty the bin").click()
    page.get_by_role("button", name="Remove").click()
    until("it is empty", lambda: not (gallery / ".bin").exists())


def test_a_picture_again_with_another_seed(open_page: Open, gateway: Gateway, gallery: Path) -> None:
    page = open_page("/gallery?job=lights")
    page.locator(".shot").first.click()
    dialog = page.get_by_role("dialog", name="Picture")
    for text in ("With changes …", "Through img2img …", "Through ADetailer …", "Upscale …"):
        assert "/add?picture=" in (dialog.get_by_role("link", name=text).get_attribute("href") or "")
    dialog.get_by_role("button", name="Again with another seed").click()

    def painted() -> dict[str, object] | None:
        history = gateway.call("GET", "/task-scheduler/queue?status=completed")["history"]
        done = [one for one in history if one["name"] == "lights"]  # the latest first
        return done[0] if len(done) > 1 else None

    job = until("it is painted", painted)["params"]["job"]
    assert job["name"] == "lights"
    assert job["txt2img"]["prompt"] == TXT2IMG["prompt"]  # drawn anew
    assert job["txt2img"]["seed"] != TXT2IMG["seed"]
    assert "upscale" in job
