"""The pictures: everything made, the newest first; filtered, starred, rejected, compared, made again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from nicegui import background_tasks, ui
from nicegui.events import GenericEventArguments
from starlette.datastructures import State

from catalog.index import Index, Wanted
from catalog.record import Made
from gateway.page.frame import button, confirmed, frame, plural
from gateway.page.picture import Large
from gateway.page.several import Several
from gateway.page.view import View
from gateway.pictures import thumbnail_address

PAGE = 60  # pictures on a screen
FIRST_WITHIN = 0.8  # seconds that the first answer waits for its content; later it comes over the socket
LOOK = 0.2  # seconds that a screen waits for a look at the gallery; what it finds later is shown when it is there
EVERY, EVERY_WHILE_READ = 5.0, 1.0  # seconds between two looks of an open page, and while the gallery is being read
FOUND_SO_FAR = " found so far …"
UNDO = 10.0  # seconds that a rejected picture can be had back by one click
KEYS = "Keys in the grid: arrows, Enter opens, S stars, X rejects, C chooses several."
# Arrows move the focus in the browser; of the other keys, the server is told with the number of the picture.
ON_KEY = """(e) => {
  const shots = [...e.currentTarget.querySelectorAll('.shot')], at = shots.indexOf(document.activeElement);
  if (at < 0 || e.ctrlKey || e.metaKey || e.altKey) return;
  const top = (one) => Math.round(one.getBoundingClientRect().top);
  const row = shots.filter((one) => top(one) === top(shots[0])).length;
  const steps = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, Home: -at, End: shots.length};
  if (e.key in steps) {
    e.preventDefault();
    shots[Math.max(0, Math.min(at + steps[e.key], shots.length - 1))].focus();
  } else if (['s', 'x', 'c'].includes(e.key)) emit(e.key, at);
}"""


def build(state: State) -> None:
    """Register the screen; ``state``: the gateway's, with the index of the gallery."""

    @ui.page("/gallery")
    async def pictures_screen(request: Request) -> None:
        with frame("/gallery"):
            screen = PicturesScreen(state, View.of(request.query_params))
        await asyncio.wait([background_tasks.create(screen.load())], timeout=FIRST_WITHIN)


class PicturesScreen:
    """The screen of one visitor."""

    def __init__(self, state: State, view: View) -> None:
        self._state, self._view = state, view
        self._index: Index = state.catalog
        self._shown: list[Made] = []
        self._total = 0
        ui.add_css(Path(__file__).with_name("gallery.css"))
        with ui.element("div").classes("gallery-head"):
            with ui.element("h1"):
                ui.label("Bin" if view.wanted.bin else "Pictures")
            self._said = ui.label().classes("said").props("role=status")
            self._new = ui.button("Show what is new", on_click=self.load).props("outline dense")
            ui.space()
            if view.wanted.bin:
                ui.button("Empty the bin", icon="delete_forever", on_click=self._empty).props("flat color=negative")
                ui.button("Back to the pictures", on_click=lambda: ui.navigate.to("/gallery")).props("outline")
            else:
                ui.button("Bin", icon="delete_outline", on_click=lambda: ui.navigate.to("/gallery?bin=1")).props("flat")
        if not view.wanted.bin:
            self._filters()
        self._grid = (
            ui.element("ul").classes("grid").props('aria-label="Pictures"').on("keydown", self._key, js_handler=ON_KEY)
        )
        self._nothing = ui.label().classes("nothing")
        with ui.element("div").classes("pages") as self._pages:
            self._newer = ui.button("Newer", icon="chevron_left", on_click=lambda: self._turn(-1)).props("flat")
            self._where = ui.label()
            self._older = ui.button("Older", on_click=lambda: self._turn(1)).props("flat icon-right=chevron_right")
        ui.label(KEYS).classes("hint-keys wide-only").set_visibility(not view.wanted.bin)
        self._several = Several(self._index, view.wanted.bin, self.load)
        with ui.element("div").classes("bar").props("role=status") as self._undo:
            self._undo_said = ui.label()
            ui.button("Undo", on_click=lambda: self.restore(self._rejected)).props("flat")
        self._undo_timer = ui.timer(UNDO, lambda: self._undo.set_visibility(False), once=True)
        self._large = Large(self, state)
        self._opened = not view.picture
        for later in (self._new, self._nothing, self._pages, self._undo):
            later.set_visibility(False)
        self._looks = ui.timer(EVERY, self._look, immediate=False)

    # -- what is shown -------------------------------------------------------------------------------------------

    def _filters(self) -> None:
        wanted = self._view.wanted
        with ui.element("div").classes("filters").props('role=search aria-label="Filter the pictures"'):
            self._jobs = self._select("Job", "job", wanted.job)
            self._checkpoints = self._select("Checkpoint", "checkpoint", wanted.checkpoint)
            words = ui.input("Words of the prompt", value=wanted.words).props("outlined dense clearable debounce=300")
            words.on_value_change(lambda event: self._filter("words", event.value))
            day = ui.input("Day", value=wanted.day).props("outlined dense clearable type=date stack-label")
            day.on_value_change(lambda event: self._filter("day", event.value))
            star = ui.checkbox("Starred", value=wanted.star)
            star.on_value_change(lambda event: self._filter("star", event.value))

    def _select(self, label: str, name: str, value: str) -> ui.select:
        options = [value] if value else []
        made = ui.select(options, label=label, value=value or None, with_input=True, clearable=True)
        made.on_value_change(lambda event: self._filter(name, event.value))
        return made.props("outlined dense")

    async def _filter(self, name: str, value: Any) -> None:
        changed: dict[str, Any] = {name: value if name == "star" else value or ""}
        self._view = View(replace(self._view.wanted, **changed))
        ui.navigate.history.replace(self._view.address)
        await self.load()

    async def _turn(self, by: int) -> None:
        self._view = replace(self._view, page=self._view.page + by)
        ui.navigate.history.replace(self._view.address)
        await self.load()
        ui.run_javascript("window.scrollTo(0, 0)")

    async def load(self) -> None:
        """Look at the gallery, and show the page."""
        view = self._view
        done, total, shown, names = await run_in_threadpool(self._found)
        if (view.wanted, view.page) != (self._view.wanted, self._view.page):
            return  # another filter was chosen meanwhile, and is looked for
        if view.page > 1 and not shown:  # the last of its pictures was rejected
            self._view = replace(self._view, page=max(1, -(-total // PAGE)))
            return await self.load()
        self._shown, self._total = shown, total
        if names:
            for select, options in zip((self._jobs, self._checkpoints), names, strict=True):
                kept = [select.value] if select.value and select.value not in options else []
                select.set_options(kept + options, value=select.value)
        first = (self._view.page - 1) * PAGE
        self._said.set_text(plural(total, "picture") + ("" if done else FOUND_SO_FAR))
        self._looks.interval = EVERY if done else EVERY_WHILE_READ
        self._new.set_visibility(False)
        self._grid.clear()
        with self._grid:
            for number, made in enumerate(shown):
                self._card(number, made)
        self._nothing.set_visibility(not shown)
        self._nothing.set_text(self._why_nothing(done))
        self._pages.set_visibility(total > PAGE)
        self._where.set_text(f"{first + 1:,} to {first + len(shown):,} of {total:,}")
        self._newer.set_enabled(first > 0)
        self._older.set_enabled(first + len(shown) < total)
        if not self._opened:  # the picture that the address names
            self._opened = True
            named: Made | None = await run_in_threadpool(self._index.get, self._view.picture)
            if named is not None:
                with self._grid:  # a task of its own has no place on the page
                    await self.open(named)

    def _found(self) -> tuple[bool, int, list[Made], list[list[str]]]:
        done, wanted = self._index.refresh(LOOK), self._view.wanted
        names = [] if wanted.bin else [self._index.names("job"), self._index.names("checkpoint")]
        return done, self._index.count(wanted), self._index.find(wanted, (self._view.page - 1) * PAGE, PAGE), names

    def _why_nothing(self, done: bool) -> str:
        if not done:
            return "The gallery is being read …"
        if self._view.wanted.bin:
            return "The bin is empty."
        if self._view.wanted != Wanted():
            return "No picture is like that. Take a filter away."
        return "No pictures yet. What the queue paints appears here."

    async def _look(self) -> None:
        """Show what came meanwhile where nobody is disturbed, else offer to."""
        done, total, shown, _ = await run_in_threadpool(self._found)
        if (total, [one.path for one in shown]) == (self._total, [one.path for one in self._shown]):
            if done:
                self._said.set_text(self._said.text.removesuffix(FOUND_SO_FAR))
        elif len(self._shown) < PAGE and not self._several.chosen and not self._large.is_open:
            await self.load()
        else:
            self._new.set_visibility(True)

    # -- one picture in the grid ---------------------------------------------------------------------------------

    def _card(self, number: int, made: Made) -> None:
        with ui.element("li").classes("shot-box") as box:
            box.classes(add=" ".join(["starred"] * made.star + ["chosen"] * (made.path in self._several.chosen)))
            with ui.element("button").classes("shot").on("click", partial(self.open, made)) as shot:
                shot.props["aria-label"] = f"Open {made.name}" + (", starred" if made.star else "")
                shot.props["title"] = made.prompt[:300] or made.name
                image = ui.element("img").props("loading=lazy decoding=async")
                image.props["src"] = thumbnail_address(made.path, version=made.version)
                image.props["alt"] = made.name
            choose = ui.checkbox(value=made.path in self._several.chosen).props("dense").classes("choose")
            choose.props["aria-label"] = f"Choose {made.name}"
            choose.on_value_change(lambda event: self._choose(made, bool(event.value)))
            with ui.element("div").classes("marks"):
                if made.rejected:
                    button("restore_from_trash", f"Restore {made.name}", partial(self.restore, made))
                else:
                    button("star", f"Star {made.name}", partial(self.star, made)).classes("star-button")
                    button("delete_outline", f"Reject {made.name}", partial(self.reject, made))

    async def _key(self, event: GenericEventArguments) -> None:
        key, number = event.args
        if not 0 <= number < len(self._shown):
            return
        made = self._shown[number]
        if key == "c":
            self._choose(made, made.path not in self._several.chosen)
            self._draw_again(number)
        elif key == "s":
            await self.star(made)
        elif not made.rejected:
            await self.reject(made)

    def _draw_again(self, number: int) -> None:
        """One card in place, with the focus where it was."""
        list(self._grid)[number].delete()
        with self._grid:
            self._card(number, self._shown[number])
        list(self._grid)[-1].move(self._grid, number)
        self._focus(number)

    def _focus(self, number: int) -> None:
        if self._large.is_open:  # which has the focus
            return
        ui.run_javascript(f"setTimeout(() => document.querySelectorAll('.shot')[{number}]?.focus(), 50)")

    async def open(self, made: Made) -> None:
        """Show a picture large, and say so in the address."""
        self._view = replace(self._view, picture=made.path)
        ui.navigate.history.replace(self._view.address)
        await self._large.show(made)

    def closed(self, made: Made) -> None:
        """The large view was closed at this picture."""
        self._view = replace(self._view, picture="")
        ui.navigate.history.replace(self._view.address)
        if (number := self._number(made)) is not None:
            self._focus(number)

    def _number(self, made: Made) -> int | None:
        return next((number for number, one in enumerate(self._shown) if one.path == made.path), None)

    def beside(self, made: Made, by: int) -> Made | None:
        """The picture before (−1) or after (1) one, on this screen."""
        number = self._number(made)
        wanted = -1 if number is None else number + by
        return self._shown[wanted] if 0 <= wanted < len(self._shown) else None

    # -- what can be done ----------------------------------------------------------------------------------------

    async def star(self, made: Made) -> Made:
        """Star it, or take its star away; returns it as it is then."""
        after = replace(made, star=not made.star)
        await run_in_threadpool(self._index.star, made.path, after.star)
        if (number := self._number(made)) is not None:
            self._shown[number] = after
            self._draw_again(number)
        return after

    async def reject(self, made: Made) -> None:
        """Move it to the bin, and offer to have it back."""
        number, there = self._number(made), await run_in_threadpool(self._index.reject, made.path)
        self._rejected = replace(made, path=there)
        self._undo_said.set_text(f"{made.name} is in the bin.")
        self._undo.set_visibility(True)
        self._undo_timer.cancel()
        with self._undo:
            self._undo_timer = ui.timer(UNDO, lambda: self._undo.set_visibility(False), once=True)
        self._several.choose(made, False)
        await self.load()
        if number is not None:
            self._focus(min(number, len(self._shown) - 1))

    async def restore(self, made: Made) -> None:
        self._undo.set_visibility(False)
        self._several.choose(made, False)
        await run_in_threadpool(self._index.restore, made.path)
        await self.load()

    async def _empty(self) -> None:
        if await confirmed(f"Remove {plural(self._total, 'picture')} of the bin for good?", "Remove"):
            await run_in_threadpool(self._index.empty_bin)
            await self.load()

    def _choose(self, made: Made, on: bool) -> None:
        self._several.choose(made, on)
        if (number := self._number(made)) is not None:
            list(self._grid)[number].classes(add="chosen" if on else "", remove="" if on else "chosen")
