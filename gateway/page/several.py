"""Several chosen pictures: compared, downloaded, rejected or restored at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi.concurrency import run_in_threadpool
from nicegui import ui

from catalog.index import Index
from catalog.record import Made, beside
from catalog.thumbnails import Size
from gateway.page.frame import button
from gateway.page.picture import facts, negative_of
from gateway.pictures import MOST, thumbnail_address, zip_address


class Several:
    """The bar of what can be done with the chosen pictures; there while any is chosen.

    Args:
        in_bin: whether they are chosen in the bin.
        done: called after something was done with them, when none is chosen any more.
    """

    def __init__(self, index: Index, in_bin: bool, done: Callable[[], Awaitable[None]]) -> None:
        self.chosen: dict[str, Made] = {}
        self._index, self._in_bin, self._done = index, in_bin, done
        self._bar = ui.element("div").classes("bar").props('role=region aria-label="Chosen pictures"')
        self._compared = Compared(index)
        self.draw()

    def choose(self, made: Made, on: bool) -> None:
        self.chosen.pop(made.path, None)
        if on:
            self.chosen[made.path] = made
        self.draw()

    def draw(self) -> None:
        self._bar.clear()
        self._bar.set_visibility(bool(self.chosen))
        chosen = list(self.chosen.values())
        with self._bar:
            ui.label(f"{len(chosen)} chosen")
            if len(chosen) == 2:
                ui.button("Compare", icon="compare", on_click=partial(self._compared.show, *chosen)).props("flat")
            if len(chosen) <= MOST:
                address = zip_address(chosen)
                ui.button("Download", icon="download", on_click=lambda: ui.download(address)).props("flat")
            if self._in_bin:
                ui.button("Restore", icon="restore_from_trash", on_click=self._restore).props("flat")
            else:
                ui.button("Reject", icon="delete_outline", on_click=self._reject).props("flat")
            ui.button("Choose none", on_click=partial(self._each, list)).props("flat")

    async def _reject(self) -> None:
        await self._each(lambda: [self._index.reject(path) for path in self.chosen])

    async def _restore(self) -> None:
        await self._each(lambda: [self._index.restore(path) for path in self.chosen])

    async def _each(self, work: Callable[[], list[str]]) -> None:
        try:
            await run_in_threadpool(work)
        finally:
            self.chosen.clear()
            self.draw()
            await self._done()


class Compared:
    """Two pictures side by side, and what is not the same in what made them."""

    def __init__(self, index: Index) -> None:
        self._index = index
        with ui.dialog().props("maximized transition-duration=100") as self._dialog:
            self._box = ui.element("div").classes("compare").props('role=dialog aria-label="Two pictures"')

    async def show(self, *pair: Made) -> None:
        said = [await run_in_threadpool(self._said, made) for made in pair]
        self._box.clear()
        with self._box:
            with ui.element("div").classes("gallery-head"):
                ui.label("Two pictures, and what is not the same")
                ui.space()
                button("close", "Close (Esc)", self._dialog.close)
            with ui.element("div").classes("two"):
                for made in pair:
                    image = ui.element("img")
                    image.props["src"] = thumbnail_address(made.path, Size.LARGE, made.version)
                    image.props["alt"] = made.name
            with ui.element("table"):
                for name in dict.fromkeys([*said[0], *said[1]]):
                    values = [one.get(name, "") for one in said]
                    if values[0] != values[1]:
                        self._row(name, values)
        self._dialog.open()

    def _row(self, name: str, values: list[str]) -> None:
        with ui.element("tr"):
            with ui.element("th").props("scope=row"):
                ui.label(name)
            for value in values:
                with ui.element("td"):
                    ui.label(value)

    def _said(self, made: Made) -> dict[str, str]:
        about = beside(self._index.gallery / made.path)
        return {"File": made.name, "Prompt": made.prompt, "Negative prompt": negative_of(about)} | facts(made, about)
