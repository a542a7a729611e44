"""What a person clicks, in the real Prefect UI in Chromium.

With DARKROOM_SCREENSHOTS=folder the pages are kept as pictures; those of the README were made so.
"""

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, expect

from deployments.form import OFFERED
from tests.up import Up
from tests.waiting import until

PATIENCE = 30_000  # milliseconds; two shared cores


@pytest.fixture
def page(browser: Browser, darkroom: Up) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    yield page
    context.close()


def keep(page: Page, name: str, *, full_page: bool = False) -> None:
    if folder := os.environ.get("DARKROOM_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=full_page)


def form_field(page: Page, label: str) -> Locator:
    """A field of Prefect's form by its label, whose HTML ties the two together only by nesting."""
    header = page.locator(":scope > .p-label__header .schema-form-property__label")
    exactly = re.compile(rf"^\s*{re.escape(label)}( \(Optional\))?\s*$")
    return page.locator(".p-label", has=header.filter(has_text=exactly)).last


def fill(page: Page, label: str, value: str) -> None:
    form_field(page, label).locator("textarea, input").first.fill(value)


def choose(page: Page, label: str, name: str) -> None:
    form_field(page, label).locator(".p-select-button__control").focus()
    page.keyboard.press("ArrowDown")
    page.get_by_role("option", name=name, exact=True).click()
    expect(form_field(page, label)).to_contain_text(name)


def newest_run(darkroom: Up, name: str) -> str:
    body = {"flow_runs": {"name": {"any_": [name]}}, "limit": 1}
    [run] = until(f"a run named {name}", lambda: darkroom.call("POST", "/flow_runs/filter", body))
    return run["id"]


def test_fill_the_form_watch_progress_and_open_the_contact_sheet(darkroom: Up, page: Page) -> None:
    darkroom.webui.steps.step_time = 0.1
    ui = darkroom.api.removesuffix("/api")
    until("the form has the WebUI's names", lambda: OFFERED in json.dumps(darkroom.deployment()))
    page.goto(f"{ui}/deployments/deployment/{darkroom.deployment()['id']}/run")
    expect(form_field(page, "Prompt").locator("textarea")).to_have_value(re.compile("lighthouse"))  # an example to edit
    fill(page, "Name", "from-the-form")
    # The names that the WebUI has, and any other: a stem is one that it takes as well.
    choose(page, "Sampler", "Euler")
    choose(page, "Checkpoint", "ink.safetensors")
    form_field(page, "Checkpoint").get_by_text("other", exact=True).click()
    fill(page, "Checkpoint", "photo")
    fill(page, "Pictures", "3")
    fill(page, "Prompt", "portrait of a queen with red hair, her castle by the sea at sunrise")
    fill(page, "Sampling steps", "40")
    fill(page, "Seed", "11")
    fill(page, "Width", "384")
    fill(page, "Height", "100")
    page.get_by_role("button", name="Submit").click()
    wrong = "Validation failed for field 'job.txt2img.height'. Failure reason: 100 is not a multiple of 8"
    expect(page.get_by_text(wrong).first).to_be_visible()
    fill(page, "Height", "384")
    # The block picker: the connection is chosen by name, its password never passes through the form.
    form_field(page, "webui").get_by_text("WebUI", exact=True).click()
    form_field(page, "webui").locator(".p-select-button__control").focus()
    page.keyboard.press("ArrowDown")
    page.get_by_role("option", name="default").click()
    expect(form_field(page, "webui")).to_contain_text("default")
    form_field(page, "Pictures").evaluate("field => field.scrollIntoView()")
    keep(page, "form")
    page.get_by_role("button", name="Submit").click()

    run = newest_run(darkroom, "from-the-form")
    assert darkroom.run(run)["parameters"]["webui"]["$ref"], "a reference, not the block's fields"
    page.goto(f"{ui}/runs/flow-run/{run}")
    expect(page.get_by_text(re.compile(r"txt2img [123]/3: step \d+/40, \d+ %")).first).to_be_visible()
    page.get_by_text("Artifacts", exact=True).first.click()
    expect(page.get_by_text("txt2img-progress").first).to_be_visible()
    page.get_by_text("Logs", exact=True).first.click()
    expect(page.get_by_text(re.compile(r"txt2img 2/3: step \d+/40, \d+ %")).first).to_be_visible()
    keep(page, "run")

    assert darkroom.ends(run)["state_type"] == "COMPLETED", darkroom.logs(run)[-5:]
    page.goto(f"{ui}/artifacts/artifact/{darkroom.artifacts(run)['contact-sheet']['id']}")
    thumbnails = page.locator("img[src^='data:image/jpeg']")
    expect(thumbnails).to_have_count(3)
    until("the thumbnails are drawn", lambda: thumbnails.first.evaluate("image => image.naturalWidth") > 0)
    expect(page.get_by_text("seed 12").first).to_be_visible()
    keep(page, "contact-sheet")
    opens = page.get_by_role("link", name="seed 12", exact=True).first.get_attribute("href")
    assert opens is not None
    assert requests.get(opens, timeout=30).headers["Content-Type"] == "image/png"  # from the gateway


def test_the_retry_button_repeats_only_what_failed(darkroom: Up, page: Page) -> None:
    darkroom.arm(kind="error", like="out of memory", contains="-txt2img-2-")
    job = {"name": "by-button", "checkpoint": "ink", "images": 2}
    run = darkroom.start(job | {"txt2img": {"prompt": "a castle", "steps": 4, "width": 128, "height": 128, "seed": 5}})
    assert darkroom.ends(run)["state_type"] == "FAILED"
    darkroom.forget()

    page.goto(f"{darkroom.api.removesuffix('/api')}/runs/flow-run/{run}")
    expect(page.get_by_text("Failed", exact=True).first).to_be_visible()
    expect(page.get_by_text("OutOfMemoryError").first).to_be_visible()
    keep(page, "failed")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    until("it runs again", lambda: darkroom.run(run)["state_type"] == "COMPLETED")
    assert [body["seed"] for _, body in darkroom.painted()] == [6]


def test_switching_a_schedule_on_keeps_its_job_and_its_run_paints_it(darkroom: Up, page: Page) -> None:
    """Prefect 3.8.8 empties a schedule's own parameters at this click, so that the deployment's are painted."""
    before = darkroom.deployment("generate/nightly")
    job = before["parameters"]["job"]
    [schedule] = before["schedules"]
    assert schedule["active"] is False
    page.goto(f"{darkroom.api.removesuffix('/api')}/deployments/deployment/{before['id']}")
    switch = page.locator(".deployment-schedule-card__action .p-toggle__control").first
    try:
        switch.click()
        until("the schedule is on", lambda: darkroom.deployment("generate/nightly")["schedules"][0]["active"])
        after = darkroom.deployment("generate/nightly")
        [switched] = after["schedules"]
        of_switch = {"schedules", "updated", "status", "last_polled"}  # the last two by the worker's polling
        assert {key for key in before if before[key] != after[key]} <= of_switch, "it changes nothing but itself"
        assert {key for key in schedule if schedule[key] != switched[key]} <= {"active", "updated"}
        waiting = {"state": {"type": {"any_": ["SCHEDULED"]}}}
        body = {"deployments": {"id": {"any_": [before["id"]]}}, "flow_runs": waiting, "limit": 1}
        body["sort"] = "EXPECTED_START_TIME_ASC"
        [run] = until("a run is laid out", lambda: darkroom.call("POST", "/flow_runs/filter", body))
        assert run["auto_scheduled"] is True
        # Its hour has come.
        now = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}}
        darkroom.call("POST", f"/flow_runs/{run['id']}/set_state", now)
        ended = darkroom.ends(run["id"])
        assert (ended["state_type"], ended["name"]) == ("COMPLETED", "nightly"), darkroom.logs(run["id"])[-5:]
        assert [body["prompt"] for _, body in darkroom.painted()] == [job["txt2img"]["prompt"]] * job["images"]
        assert len(list(darkroom.gallery.rglob("nightly-*.png"))) == job["images"]
    finally:
        darkroom.call("PATCH", f"/deployments/{before['id']}/schedules/{schedule['id']}", {"active": False})


def test_the_blocks_have_readable_forms(darkroom: Up, page: Page) -> None:
    ui = darkroom.api.removesuffix("/api")
    page.goto(f"{ui}/blocks/catalog/webui/create")
    for label in ("Address", "User", "Password", "Verify TLS", "CA bundle"):
        expect(page.get_by_text(label, exact=False).first).to_be_visible()
    keep(page, "webui-block")
    page.goto(f"{ui}/blocks/catalog/gallery/create")
    for label in ("Folder", "File system block", "File names"):
        expect(page.get_by_text(label, exact=False).first).to_be_visible()
