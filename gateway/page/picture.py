"""One picture large, with all that made it."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlencode

from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from nicegui.events import KeyEventArguments
from prefect.utilities.urls import url_for
from starlette.datastructures import State

from catalog.files import locate
from catalog.index import Index
from catalog.record import Made, beside, history
from catalog.thumbnails import Size
from gateway.again import again
from gateway.page.frame import button, do, link_out
from gateway.pictures import picture_address, thumbnail_address
from webui import infotext

WAYS = {  # what a new job can do with a picture: the stage, as /add takes it
    "": "With changes …",
    "img2img": "Through img2img …",
    "adetailer": "Through ADetailer …",
    "upscale": "Upscale …",
}


def facts(made: Made, about: dict[str, Any]) -> dict[str, str]:
    """What made a picture, as a person reads it."""
    found = {"Job": made.job, "Checkpoint": made.checkpoint, "Seed": "" if made.seed is None else str(made.seed)}
    found |= {"Size": f"{made.width} × {made.height}" if made.width else ""}
    found |= {"Made": f"{datetime.fromtimestamp(made.made).astimezone():%Y-%m-%d %H:%M}"}
    stages = [stage.get("picture") for stage in history(about)]
    named = [_stage(one) for one in reversed(stages) if isinstance(one, dict)]
    found |= {"Stages": " → ".join(named) or made.stage}
    cell = about.get("cell")
    found |= {f"Sweep: {axis}": str(value) for axis, value in (cell if isinstance(cell, dict) else {}).items()}
    said = infotext.parse(str(about.get("infotext") or ""))
    shown = {"Seed", "Size", "Model", "Model hash", "Version"}
    found |= {name: value for name, value in said.settings.items() if name not in shown}
    note = (about.get("picture") or {}).get("note") if isinstance(about.get("picture"), dict) else ""
    return {name: value for name, value in (found | {"Note": str(note or "")}).items() if value}


def _stage(picture: dict[str, Any]) -> str:
    seconds = picture.get("seconds")
    return str(picture.get("stage") or "") + (f" ({seconds:.1f} s)" if isinstance(seconds, float) else "")


def negative_of(about: dict[str, Any]) -> str:
    return infotext.parse(str(about.get("infotext") or "")).negative_prompt


class Screen(Protocol):
    """What the large view asks of the screen that it lies over."""

    def beside(self, made: Made, by: int) -> Made | None: ...
    async def open(self, made: Made) -> None: ...
    def closed(self, made: Made) -> None: ...
    async def star(self, made: Made) -> Made: ...
    async def reject(self, made: Made) -> None: ...
    async def restore(self, made: Made) -> None: ...


class Large:
    """The view of one picture, over the whole screen; arrows go to the ones beside it."""

    def __init__(self, screen: Screen, state: State) -> None:
        self._screen, self._state = screen, state
        self._index: Index = state.catalog
        self._made: Made | None = None
        with ui.dialog().props("maximized transition-duration=100") as self._dialog:
            self._box = ui.element("div").classes("large").props('role=dialog aria-label="Picture"')
        self._dialog.on("hide", self._hidden)
        ui.keyboard(self._key, ignore=["input", "select", "textarea"])

    @property
    def is_open(self) -> bool:
        return bool(self._dialog.value)

    async def show(self, made: Made) -> None:
        """Open it at a picture, or turn it to one."""
        self._made = made
        about = await run_in_threadpool(lambda: beside(self._index.gallery / made.path))
        self._box.clear()
        with self._box:
            with ui.link(target=picture_address(made.path, made.version), new_tab=True).classes("picture") as link:
                link.props["aria-label"] = f"Open the file {made.name}"
                image = ui.element("img")
                image.props["src"] = thumbnail_address(made.path, Size.LARGE, made.version)
                image.props["alt"] = made.prompt[:500] or made.name
            with ui.element("div").classes("about"):
                self._tools(made)
                with ui.element("h2"):
                    ui.label(made.name)
                if not made.rejected:
                    self._ways(made)
                ui.label(made.prompt).classes("prompt")
                self._facts(made, about)
        self._dialog.open()

    def _tools(self, made: Made) -> None:
        with ui.element("div").classes("tools"):
            before, after = self._screen.beside(made, -1), self._screen.beside(made, 1)
            button("chevron_left", "The one before (←)", partial(self._turn, -1)).set_enabled(before is not None)
            button("chevron_right", "The next one (→)", partial(self._turn, 1)).set_enabled(after is not None)
            ui.space()
            if made.rejected:
                button("restore_from_trash", "Restore", self._move)
            else:
                star = button(
                    "star" if made.star else "star_outline", "Unstar (S)" if made.star else "Star (S)", self._star
                )
                star.style("color: #ffc857" if made.star else "")
                button("delete_outline", "Reject (X)", self._move)
            button("close", "Close (Esc)", self._dialog.close)

    def _ways(self, made: Made) -> None:
        with ui.element("div").classes("ways"):
            ui.button("Again with another seed", icon="casino", on_click=self._again).props("unelevated")
            for stage, text in WAYS.items():
                ui.link(text, "/add?" + urlencode({"picture": made.path} | ({"stage": stage} if stage else {})))

    def _facts(self, made: Made, about: dict[str, Any]) -> None:
        if negative := negative_of(about):
            ui.label("Negative prompt").classes("said")
            ui.label(negative).classes("prompt")
        with ui.element("dl").classes("facts"):
            for name, value in facts(made, about).items():
                with ui.element("dt"):
                    ui.label(name)
                with ui.element("dd"):
                    ui.label(value)
        if made.run and (address := url_for("flow-run", obj_id=made.run)):
            link_out("The run in Prefect", address, "The run in Prefect")
        if isinstance(text := about.get("infotext"), str) and text:
            with ui.expansion("Infotext"):
                ui.button("Copy", icon="content_copy", on_click=lambda: ui.clipboard.write(text)).props("flat dense")
                ui.label(text).classes("raw")

    async def _turn(self, by: int) -> None:
        if self._made and (made := self._screen.beside(self._made, by)):
            await self._screen.open(made)

    async def _star(self) -> None:
        if self._made:
            await self.show(await self._screen.star(self._made))

    async def _move(self) -> None:
        """To the bin, or out of it; then on to the next one, or the one before."""
        if self._made is None:
            return
        after = self._screen.beside(self._made, 1) or self._screen.beside(self._made, -1)
        await (self._screen.restore if self._made.rejected else self._screen.reject)(self._made)
        if after is None:
            self._dialog.close()
        else:
            await self._screen.open(after)

    async def _again(self) -> None:
        if self._made:
            file = await run_in_threadpool(locate, self._index.gallery, self._made.path)
            _, lost = await do("Queued with another seed", again, self._state.prefect, file)
            if lost:
                ui.notify("Not carried over: " + "; ".join(lost), type="warning", multi_line=True, timeout=10_000)

    async def _key(self, event: KeyEventArguments) -> None:
        if not self.is_open or not event.action.keydown or self._made is None:
            return
        if event.key.arrow_left or event.key.arrow_right:
            await self._turn(-1 if event.key.arrow_left else 1)
        elif self._made.rejected or event.modifiers.ctrl or event.modifiers.meta or event.modifiers.alt:
            return
        elif event.key == "s":
            await self._star()
        elif event.key == "x":
            await self._move()

    def _hidden(self) -> None:
        if self._made:
            self._screen.closed(self._made)
