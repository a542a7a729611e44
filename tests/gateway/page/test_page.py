"""The page as a person uses it, in Chromium: queue, form, saved jobs."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.gateway.conftest import Gateway
from tests.gateway.page.conftest import Open
from tests.servers import Prefect
from tests.waiting import until
from webui import infotext
from webui.embedded.server import EmbeddedWebUI

TXT2IMG: dict[str, Any] = {"prompt": "a lighthouse", "steps": 2, "width": 64, "height": 64, "seed": 5}
FRESH = 3_000  # milliseconds in which a change is to be seen: a second, and what two shared cores may cost
# The controls that a person can reach, and that have no name.
UNNAMED = """() => {
  const text = one => (one?.ariaLabel || one?.innerText || '').trim();
  const controls = document.querySelectorAll('button, a[href], input, textarea, [role=button], [role=switch]');
  return [...controls]
    .filter(one => one.checkVisibility() && one.tabIndex >= 0)
    .filter(one => !text(one) && ![...(one.labels || [])].some(text) && !text(one.closest('[aria-label]')))
    .map(one => one.outerHTML.slice(0, 200));
}"""


def queued(gateway: Gateway, name: str, **changed: Any) -> str:
    job = {"name": name, "checkpoint": "photo", "txt2img": TXT2IMG | changed}
    return str(gateway.call("POST", "/task-scheduler/queue", job, status=201)["id"])


def waiting(gateway: Gateway) -> list[dict[str, Any]]:
    return list(gateway.call("GET", "/task-scheduler/queue")["pending"])


def names(gateway: Gateway) -> list[str]:
    return [task["name"] for task in waiting(gateway)]


def rows(page: Page, title: str = "Waiting") -> Locator:
    return page.get_by_role("list", name=title, exact=True).get_by_role("listitem")


def in_order(page: Page, *wanted: str) -> None:
    expect(rows(page).locator(".row-name")).to_have_text(list(wanted))


@pytest.fixture
def paused(gateway: Gateway) -> Iterator[Gateway]:
    """The queue is paused and empty; afterwards as well."""
    gateway.call("POST", "/task-scheduler/pause")
    yield gateway
    for task in waiting(gateway):
        gateway.call("DELETE", f"/task-scheduler/queue/{task['id']}", status=204)
    gateway.call("POST", "/task-scheduler/start")


def test_a_dropped_picture_is_queued_with_changes_and_seen_on_another_page(paused: Gateway, open_page: Open) -> None:
    said = {"Steps": 7, "Sampler": "Euler a", "CFG scale": 5.5, "Seed": 42, "Size": "64x64", "Model": "ink"}
    picture = infotext.to_png(Image.new("RGB", (64, 64)), infotext.build("a red fox", "fog", said))
    queue, add = open_page("/"), open_page("/add")
    dropped = add.evaluate_handle(
        """text => { const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
        data.items.add(new File([bytes], 'fox.png', {type: 'image/png'})); return data; }""",
        base64.b64encode(picture).decode(),
    )
    add.wait_for_selector(".sources .zone button, .sources .zone a")
    add.dispatch_event(".sources .zone", "dragover", {"dataTransfer": dropped})
    add.dispatch_event(".sources .zone .q-uploader__dnd", "drop", {"dataTransfer": dropped})
    expect(add.get_by_label("Prompt", exact=True)).to_have_value("a red fox")
    add.get_by_label("Sampling steps").fill("9")
    add.get_by_role("button", name="Queue", exact=True).click()
    expect(rows(queue)).to_contain_text("fox", timeout=2 * FRESH)
    [task] = waiting(paused)
    job = task["params"]["job"]
    assert (job["checkpoint"], job["txt2img"]["seed"], job["txt2img"]["steps"]) == ("ink", 42, 9)


def test_what_is_wrong_is_said_beside_its_field(paused: Gateway, open_page: Open) -> None:
    add = open_page("/add")
    add.get_by_label("Prompt", exact=True).fill("a __mountan__ at dawn")
    add.get_by_label("Sampling steps").fill("900")
    queue = add.get_by_role("button", name="Queue", exact=True)
    queue.click()
    field = add.locator(".q-field", has=add.get_by_label("Sampling steps"))
    expect(field).to_contain_text("less than or equal to 150")
    add.get_by_label("Sampling steps").fill("2")
    sampler = add.get_by_label("Sampler", exact=True)
    sampler.fill("Eular")
    sampler.press("Enter")
    queue.click()
    expect(add.locator(".q-field", has=sampler)).to_contain_text("did you mean 'Euler'")
    expect(add.locator(".q-field", has=add.get_by_label("Prompt", exact=True))).to_contain_text(
        "__mountan__ has no file"
    )
    assert not waiting(paused)
    queue.click()  # as it is: the WebUI may have it when its turn comes
    until("it is queued", lambda: waiting(paused))
    assert waiting(paused)[0]["params"]["job"]["txt2img"]["sampler_name"] == "Eular"


def test_a_picture_and_a_mask_are_uploaded(paused: Gateway, open_page: Open) -> None:
    picture = infotext.to_png(Image.new("RGB", (64, 64), "white"))
    add = open_page("/add")
    add.get_by_label("Prompt", exact=True).fill("a beard")
    add.get_by_role("button", name="From pictures").click()
    for number, title in enumerate(("Init images", "Mask")):
        field = add.locator(".pictures-field").nth(number)
        field.locator("input[type=file]").set_input_files(
            {"name": f"{title}.png", "mimeType": "image/png", "buffer": picture}
        )
        expect(field.get_by_role("img", name=f"{title} 1")).to_be_visible()
    add.get_by_role("button", name="Next", exact=True).click()
    until("it is queued", lambda: waiting(paused))
    job = waiting(paused)[0]["params"]["job"]
    assert job["img2img"]["prompt"] == "a beard"
    assert job["img2img"]["mask"] == job["init_images"][0]
    assert job["img2img"]["mask"].startswith("store:")


def test_what_waits_is_edited_moved_and_cancelled(paused: Gateway, open_page: Open) -> None:
    for name in ("first", "second", "third"):
        queued(paused, name)
    page, other = open_page("/"), open_page("/")
    in_order(page, "first", "second", "third")
    in_order(other, "first", "second", "third")
    rows(page).nth(2).locator(".handle").drag_to(rows(page).nth(0).locator(".handle"))
    in_order(other, "third", "first", "second")
    assert names(paused) == ["third", "first", "second"]
    rows(page).nth(2).press("Alt+ArrowUp")
    in_order(page, "third", "second", "first")
    rows(page).nth(0).get_by_role("button", name="More: third").click()
    page.get_by_text("To the bottom").click()
    in_order(page, "second", "first", "third")

    rows(page).nth(0).get_by_role("button", name="Edit: second").click()
    page.get_by_role("dialog").get_by_label("Name", exact=True).fill("changed")
    page.get_by_role("dialog").get_by_label("Prompt", exact=True).fill("a windmill")
    page.get_by_role("dialog").get_by_label("Sampling steps").fill("20")  # the default, which a job does not store
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    in_order(other, "changed", "first", "third")
    edited = {"prompt": "a windmill", "width": 64, "height": 64, "seed": 5}
    assert waiting(paused)[0]["params"]["job"]["txt2img"] == edited
    rows(page).nth(1).press("Delete")
    began = time.monotonic()
    in_order(other, "changed", "third")
    assert time.monotonic() - began < FRESH / 1000
    expect(page.get_by_text("Paused: nothing new starts")).to_be_visible()
    page.locator("body").press("p")
    expect(other.get_by_text("Nothing waits.")).to_be_visible()


def test_the_running_one_is_seen_live_and_a_failed_one_is_retried(
    gateway: Gateway, open_page: Open, held: EmbeddedWebUI
) -> None:
    page = open_page("/")
    queued(gateway, "long", steps=100)
    row = rows(page, "Running").filter(has_text="long")
    expect(row).to_contain_text(re.compile(r"step \d+/100"))
    expect(row.locator(".preview img")).to_be_visible()
    late = [step_at(held) - step_on(row) for _ in range(5)]
    assert max(late) * held.steps.step_time <= FRESH / 1000, "the step on the page is too old"
    row.get_by_role("button", name="Cancel: long").click()
    expect(rows(page, "Running")).to_have_count(0)

    several = {"name": "several", "checkpoint": "photo", "images": 9, "txt2img": TXT2IMG}
    task = gateway.call("POST", "/task-scheduler/queue", several, status=201)["id"]
    expect(rows(page, "Running")).to_contain_text(re.compile(r"Running \([1-8]/9\)"))  # no event tells of a picture
    gateway.call("POST", f"/task-scheduler/queue/{task}/cancel")

    queued(gateway, "wrong", sampler_name="Eular")
    failed = rows(page, "Failed").filter(has_text="wrong")
    expect(failed).to_contain_text("the WebUI has no sampler 'Eular'")
    failed.get_by_role("button", name="Retry: wrong").click()
    expect(failed).to_have_count(0)  # it waits again
    expect(failed).to_have_count(1)
    page.get_by_role("button", name=re.compile(r"History \(\d+\)")).click()
    expect(rows(page, "History").filter(has_text="long")).to_contain_text("cancelled")


def step_at(webui: EmbeddedWebUI) -> int:
    return int(requests.get(f"{webui.url}/sdapi/v1/progress", timeout=10).json()["state"]["sampling_step"])


def step_on(row: Locator) -> int:
    found = re.search(r"step (\d+)/", row.inner_text())
    return int(found[1]) if found else 0


def test_a_job_is_saved_run_and_deleted(paused: Gateway, open_page: Open) -> None:
    add = open_page(f"/add?task={queued(paused, 'keepsake')}")
    expect(add.get_by_label("Name", exact=True)).to_have_value("keepsake")
    add.get_by_role("button", name="Save", exact=True).click()
    saved = open_page("/saved")
    row = saved.get_by_role("listitem").filter(has_text="keepsake")
    row.get_by_role("button", name="Run: keepsake", exact=True).click()
    until("it is queued", lambda: names(paused).count("keepsake") == 2)
    nightly = saved.get_by_role("switch", name=re.compile("nightly: "))
    nightly.click()
    expect(nightly).to_be_checked()
    nightly.click()
    expect(nightly).not_to_be_checked()
    for task in waiting(paused):
        paused.call("DELETE", f"/task-scheduler/queue/{task['id']}", status=204)
    row.get_by_role("button", name="Delete: keepsake").click()
    saved.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)


@pytest.mark.parametrize("path", ["/", "/add", "/saved"])
def test_every_control_has_a_name_and_the_page_is_there_soon(paused: Gateway, open_page: Open, path: str) -> None:
    queued(paused, "waits")
    began = time.monotonic()
    page = open_page(path)
    page.locator(".content").wait_for()
    assert time.monotonic() - began < 1.5 + 3 * FRESH / 1000
    for section in page.locator(".q-expansion-item:visible").all():
        section.get_by_role("button").first.click()
    assert page.evaluate(UNNAMED) == []


def schedule(deployed: Prefect) -> dict[str, Any]:
    return dict(deployed.deployment("generate/nightly")["schedules"][0])


def test_hours_are_set_and_a_timetable_is_switched_on_and_changed(deployed: Prefect, open_page: Open) -> None:
    variable = f"{deployed.api}/variables/name/darkroom_hours"
    before = schedule(deployed)
    page = open_page("/timetable")
    hours = page.get_by_label("Hours", exact=True)
    hours.fill("25:00-07:00")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_text(re.compile("25:00: no time of day"))).to_be_visible()
    hours.fill("00:00-24:00 Europe/Berlin")  # the worker of these tests goes on
    page.get_by_role("button", name="Set").click()
    until("they are set", lambda: requests.get(variable, timeout=10).ok)
    assert requests.get(variable, timeout=10).json()["value"]["windows"] == ["00:00-24:00"]

    page.get_by_label(re.compile("^On: nightly")).click()
    until("it is on", lambda: schedule(deployed)["active"])
    expect(
        page.get_by_role("listitem").filter(has_text="done by").or_(page.get_by_text("begins")).first
    ).to_be_visible()
    page.get_by_role("button", name="Change when nightly runs").click()
    page.get_by_label("When", exact=True).fill("61 2 * * *")
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.get_by_role("dialog").get_by_text(re.compile("cron", re.IGNORECASE)).last).to_be_visible()
    page.get_by_label("When", exact=True).fill("15 3 * * *")
    page.get_by_role("button", name="Change", exact=True).click()
    until("it has other times", lambda: schedule(deployed)["schedule"].get("cron") == "15 3 * * *")
    expect(page.get_by_text(re.compile("^15 3 "))).to_be_visible()
    assert not page.evaluate(UNNAMED)

    page.get_by_label(re.compile("^On: nightly")).click()
    until("it is off", lambda: not schedule(deployed)["active"])
    was = before["schedule"]
    done = deployed.darkroom("timetable", "when", "nightly", "--cron", was["cron"], "--timezone", was["timezone"])
    assert done.returncode == 0, done.stderr
    hours = page.get_by_label("Hours", exact=True)
    hours.fill("")
    page.get_by_role("button", name="Set").click()
    until("there are none", lambda: requests.get(variable, timeout=10).status_code == 404)
