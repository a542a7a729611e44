"""A new job: from a picture, from pasted parameters, from a job that was there before, or from a blank form."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from starlette.datastructures import State

from backlog import change, queue
from backlog.capture import capture
from backlog.task import InvalidJob, Task
from catalog.files import locate
from cli.given import save_given
from flows.job import GenerationJob
from gateway.page.form import BLANK, JobForm
from gateway.page.frame import do, frame
from gateway.page.given import drop_zone
from gateway.page.offered import Offered, offered
from store.inputs import keep_picture


def build(state: State) -> None:
    """Register the screen."""

    @ui.page("/add")
    async def add_screen(task: str = "", picture: str = "", saved: str = "", stage: str = "") -> None:
        """Filled in from a task's id, a picture's path in the gallery, or a saved job's name; ``stage``: not to paint
        the picture again, but to have it go through img2img, adetailer or upscale."""
        lists = await run_in_threadpool(offered, state.webui)
        with frame("/add"):
            screen = AddScreen(state, lists)
            if task:
                screen.form.fill(await run_in_threadpool(_of_task, state, task))
            elif picture:
                await screen.take_picture(picture, stage)
            elif saved:
                found = await run_in_threadpool(state.prefect.read_deployment_by_name, saved)
                screen.form.fill(dict(found.parameters.get("job") or {}))


class AddScreen:
    """The screen of one visitor."""

    def __init__(self, state: State, lists: Offered) -> None:
        self._state, self._lists = state, lists
        ui.label("Add a job").classes("title").props("role=heading aria-level=1")
        if lists.problem:
            ui.label(lists.problem).classes("banner").props("role=status")
        with ui.element("div").classes("sources"):
            drop_zone("Drop a picture to paint it again", self._dropped)
            with ui.element("div"):
                self._pasted = ui.textarea("… or paste generation parameters").props("outlined dense autogrow")
                ui.button("Read", icon="content_paste_go", on_click=self._read).props("flat dense")
        self._lost = ui.label().classes("banner").props("role=status")
        self._lost.set_visibility(False)
        first = next(iter(lists.names("checkpoints")), "")
        self.form = JobForm(BLANK | {"checkpoint": first, "txt2img": {"prompt": ""}}, lists)
        with ui.element("div").classes("actions"):
            ui.button("Queue", icon="playlist_add", on_click=self._queue).props("unelevated")
            ui.button("Next", icon="vertical_align_top", on_click=self._next).props("outline").tooltip(
                "Before all others"
            )
            ui.button("Save", icon="bookmark_add", on_click=self._save).props("outline")

    async def take_picture(self, path: str, stage: str) -> None:
        """Fill in from a picture of the gallery, by its path there."""
        file = await run_in_threadpool(locate, self._state.catalog.gallery, path)
        await self._capture(file, file.stem)
        if stage:
            kept = await run_in_threadpool(lambda: keep_picture(file.read_bytes()))
            self.form.fill(_through(self.form.values, kept, stage, self._lists))

    async def _dropped(self, name: str, content: bytes) -> None:
        await self._capture(content, Path(name).stem or "captured")

    async def _read(self) -> None:
        await self._capture(str(self._pasted.value or ""), "pasted")

    async def _capture(self, given: Path | bytes | str, name: str) -> None:
        captured = await run_in_threadpool(capture, given, name, self._lists.names("vaes"))
        self.form.fill(captured.job.parameters())
        self._lost.set_text("Not carried over: " + "; ".join(captured.lost))
        self._lost.set_visibility(bool(captured.lost))
        ui.notify(f"{name} is read: change what you like, then queue it")

    async def _queue(self) -> None:
        if (job := await self._checked()) is not None:
            await do(f"{job.name} is queued", queue.add, self._state.prefect, job)

    async def _next(self) -> None:
        if (job := await self._checked()) is not None:
            await do(f"{job.name} is next", _add_first, self._state, job)

    async def _save(self) -> None:
        if (job := await self._checked()) is not None:
            await do(
                f"{job.name} is saved: see Saved jobs", save_given, self._state.prefect, job, job.name, lambda _: None
            )

    async def _checked(self) -> GenerationJob | None:
        job = await self.form.checked()
        if job is None:
            ui.notify("Not yet: see what is said at the fields", type="warning", position="top")
        return job


def _add_first(state: State, job: GenerationJob) -> Task:
    task = queue.add(state.prefect, job)
    return change.move(state.prefect, task.id, "top")


def _of_task(state: State, task: str) -> dict[str, Any]:
    try:
        job = queue.show(state.prefect, UUID(task)).params.get("job")
    except ValueError:
        raise InvalidJob(f"{task} is no task's id") from None
    if not isinstance(job, dict):
        raise InvalidJob("that task is a file of many jobs: queue its file again instead")
    return job


def _through(job: dict[str, Any], picture: str, stage: str, lists: Offered) -> dict[str, Any]:
    """The job that puts a finished picture through one stage, with the prompt that it was painted with."""
    before = job.get("txt2img", {})
    prompts = {name: before[name] for name in ("prompt", "negative_prompt") if before.get(name)}
    model = next(iter(lists.names("adetailer_models")), "")
    forms: dict[str, Any] = {
        "img2img": prompts | {"seed": before.get("seed", -1)},
        "adetailer": [{"ad_model": model} | {f"ad_{name}": text for name, text in prompts.items()}],
        "upscale": {"upscaler": "Lanczos", "factor": 2},
    }
    if stage not in forms:
        raise InvalidJob(f"{stage!r} is no stage that a finished picture can go through: {', '.join(forms)}")
    kept = {name: job[name] for name in ("name", "checkpoint", "vae") if job.get(name)}
    return kept | {"init_images": [picture], stage: forms[stage]}
