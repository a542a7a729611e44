"""Files that a person gives: dropped, chosen, uploaded; kept in the store."""

from __future__ import annotations

import base64
import io
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from nicegui.events import UploadEventArguments
from PIL import ImageOps

from gateway.page.frame import button
from store.inputs import LARGEST, keep_picture, stored
from store.picture import decoded

THUMBNAIL = 96  # pixels a side
# The upload's own bar has buttons without a name; this one is a place to drop on, and one button.
HEADER = """
<div class="drop">
  <q-btn flat no-caps icon="add_photo_alternate" :label="props.label" @click="props.pickFiles" type="a" tabindex="0">
    <q-uploader-add-trigger />
  </q-btn>
</div>
"""


def drop_zone(label: str, take: Callable[[str, bytes], Awaitable[None]], *, several: bool = False) -> ui.upload:
    """A place to drop a picture on, or to choose one; ``take`` is given its name and content."""

    async def uploaded(event: UploadEventArguments) -> None:
        await take(event.file.name, await event.file.read())
        zone.reset()

    def rejected() -> None:
        ui.notify(f"Only pictures of at most {LARGEST // 1024**2} MiB are taken", type="negative")

    zone = ui.upload(
        label=label, auto_upload=True, multiple=several, max_file_size=LARGEST, on_upload=uploaded, on_rejected=rejected
    )
    zone.add_slot("header", HEADER.replace(':label="props.label"', f'label="{label}"'))
    zone.add_slot("list", "<span></span>")
    return zone.props("flat bordered accept=image/*").classes("zone")


class PictureField:
    """A form's field for pictures: uploads them into the store, and holds the references to them."""

    def __init__(self, title: str, help: str, given: Any, *, several: bool, on_change: Callable[[Any], None]) -> None:
        self._given: list[str] = list(given) if isinstance(given, list) else [given] if given else []
        self._title, self._several, self._on_change = title, several, on_change
        with ui.element("div").classes("pictures-field wide").tooltip(help):
            ui.label(title).classes("row-about")
            self._shown = ui.element("div").classes("head")
            drop_zone(f"{title}: drop or choose", self._take, several=several)
            self._error = ui.label().classes("form-error").props("role=alert")
        self._show()

    @property
    def error(self) -> str | None:
        """What is wrong with it."""
        return self._error.text or None

    @error.setter
    def error(self, text: str | None) -> None:
        self._error.set_text(text or "")
        self._error.set_visibility(bool(text))

    async def _take(self, name: str, content: bytes) -> None:
        try:
            reference = await run_in_threadpool(keep_picture, content)
        except ValueError as error:
            self.error = f"{name}: {error}"
            return
        self._given = [*self._given, reference] if self._several else [reference]
        self._changed()

    def _changed(self) -> None:
        self.error = None
        self._on_change((self._given or None) if self._several else next(iter(self._given), None))
        self._show()

    def _remove(self, one: str) -> None:
        self._given.remove(one)
        self._changed()

    def _show(self) -> None:
        self._shown.clear()
        with self._shown:
            for number, one in enumerate(self._given, start=1):
                with suppress(ValueError, OSError):
                    picture = ui.element("img").classes("thumbnail large")
                    picture.props["src"] = thumbnail(stored(one).read_bytes())
                    picture.props["alt"] = f"{self._title} {number}"
                button("close", f"Remove {self._title} {number}", partial(self._remove, one))


def thumbnail(content: bytes) -> str:
    """A small JPEG of a picture, as a data URI."""
    buffer = io.BytesIO()
    ImageOps.contain(decoded(content).convert("RGB"), (THUMBNAIL, THUMBNAIL)).save(buffer, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
