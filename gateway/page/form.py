"""A job as a form, made from the job's own models: a field's title, help, bounds and kind are those of its model.

Whatever it has no field for (a sweep, a raw request, ``extra``) is in its other view, the job as YAML.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from copy import deepcopy
from functools import partial
from typing import Any, get_args

import yaml
from fastapi.concurrency import run_in_threadpool
from nicegui import ui
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from flows.job import GenerationJob, explain
from gateway.page.frame import button
from gateway.page.given import PictureField
from gateway.page.offered import FIELDS, Offered
from store.settings import settings
from tasks.adetailer import ADetailerPass
from tasks.img2img import Img2Img
from tasks.txt2img import Txt2Img
from tasks.upscale import Upscale
from variations.wildcards import VARIANT, WILDCARD, Wildcards

Path = tuple[str | int, ...]  # of a field in the job, as pydantic names it
PROMPTS = ("prompt", "negative_prompt")
FIRST = [*PROMPTS, "width", "height", "steps", "cfg_scale", "sampler_name", "scheduler", "seed", "styles"]
HIRES = ["enable_hr", "hr_upscaler", "hr_scale", "hr_second_pass_steps", "denoising_strength"]
REPAINT = ["denoising_strength", "resize", *PROMPTS, "mask", "mask_blur", "inpaint_full_res"]
FACES = ["ad_model", "ad_denoising_strength", "ad_confidence", "ad_prompt"]
BLANK: dict[str, Any] = {"name": "untitled", "txt2img": {"prompt": ""}}


class JobForm:
    """The form of one job. ``values``: the job as it is filled in, which may be wrong."""

    def __init__(self, job: dict[str, Any], lists: Offered) -> None:
        self.values = deepcopy(job)
        self._lists = lists
        self._fields: dict[Path, Any] = {}  # the controls, by the path of their field
        self._accepted: Any = None  # the values whose warnings a person has seen
        self._yaml: ui.textarea | None = None
        with ui.element("div").classes("form-head"):
            ui.switch("As YAML", on_change=self._switch)
        self._body = ui.element("div").classes("form")
        self._general = ui.label().classes("form-error").props("role=alert")
        self._draw()

    def fill(self, job: dict[str, Any]) -> None:
        """Show another job."""
        self.values, self._accepted = deepcopy(job), None
        self._draw()

    async def checked(self) -> GenerationJob | None:
        """The job, where it is right. What is wrong is said beside its field; names that the WebUI lacks, and prompts
        that nothing will expand, only the first time: the WebUI may have them when the job's turn comes.
        """
        self._say({})
        if self._yaml is not None and not self._read_yaml():
            return None
        try:
            job = GenerationJob.model_validate(self.values)
        except ValidationError as error:
            said: dict[Path, list[str]] = {}
            for one in error.errors():
                path = next((path for path in self._fields if path == one["loc"][: len(path)]), ())
                where = "" if path else ".".join(map(str, one["loc"]))
                text = one["msg"].removeprefix("Value error, ")
                said.setdefault(path, []).append(f"{where}: {text}" if where else text)
            self._say(said)
            return None
        warnings = {path: found for path in self._paths() if (found := self._warnings(path))}
        if warnings and self._accepted != self.values:
            self._say({**warnings, (): ["Queue it again to have it queued as it is."]})
            self._accepted = deepcopy(self.values)
            return None
        try:
            return await run_in_threadpool(job.with_files_kept)
        except ValueError as error:
            self._say({(): [explain(error)]})
            return None

    # -- drawing ---------------------------------------------------------------------------------------------

    def _switch(self, event: Any) -> None:
        if not event.value and not self._read_yaml():
            event.sender.set_value(True)
            return
        self._draw(as_yaml=event.value)

    def _draw(self, as_yaml: bool = False) -> None:
        self._fields, self._yaml = {}, None
        self._say({})
        self._body.clear()
        with self._body:
            if as_yaml or "raw" in self.values:
                text = yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True)
                self._yaml = ui.textarea("The job as YAML", value=text).props("autogrow outlined").classes("code")
                return
            self._group(GenerationJob, self.values, (), ["name", "checkpoint", "images"])
            start = "prompt" if "txt2img" in self.values else "pictures"
            starts = {"prompt": "From a prompt", "pictures": "From pictures"}
            ui.toggle(starts, value=start, on_change=lambda e: self._start(e.value)).props("no-caps unelevated")
            if start == "pictures":
                self._group(GenerationJob, self.values, (), ["init_images"])
            else:
                form = self.values["txt2img"]
                self._group(Txt2Img, form, ("txt2img",), FIRST)
                self._loras(form)
                with self._section("Hires fix", form.get("enable_hr", False)):
                    self._group(Txt2Img, form, ("txt2img",), HIRES)
            self._stage("img2img", "img2img: repaint each picture", Img2Img, REPAINT)
            self._passes()
            self._stage("upscale", "Upscale", Upscale, ["upscaler", "factor"])
            with self._section("More", False):
                self._group(GenerationJob, self.values, (), ["vae", "batch_size", "wildcards"])
                if "txt2img" in self.values:
                    self._group(Txt2Img, self.values["txt2img"], ("txt2img",), ["clip_skip"])

    def _start(self, start: str) -> None:
        """Start from a prompt or from pictures; the prompt goes with it."""
        stages = ("txt2img", "img2img")
        prompts = {
            name: self.values[one][name] for one in stages for name in PROMPTS if self.values.get(one, {}).get(name)
        }
        if start == "prompt":
            self.values.pop("init_images", None)
            self.values["txt2img"] = {"prompt": ""} | prompts
        else:
            self.values.pop("txt2img", None)
            self.values["img2img"] = prompts | self.values.get("img2img", {})
        self._draw()

    def _section(self, title: str, is_open: bool) -> ui.expansion:
        return ui.expansion(title, value=is_open).classes("form-section")

    def _stage(self, name: str, title: str, model: type[BaseModel], fields: Iterable[str]) -> None:
        """A stage that a job may have, with the switch for it."""
        with self._section(title, name in self.values):
            ui.switch(f"With {name}", value=name in self.values, on_change=lambda e: self._toggle(name, e.value))
            if name in self.values:
                self._group(model, self.values[name], (name,), fields)

    def _toggle(self, name: str, on: bool) -> None:
        self.values[name] = {} if on else None
        self.values = {key: value for key, value in self.values.items() if value is not None}
        self._draw()

    def _passes(self) -> None:
        passes: list[dict[str, Any]] = self.values.get("adetailer", [])
        with self._section("ADetailer: faces, hands and the like", bool(passes)):
            for number, one in enumerate(passes):
                with ui.element("div").classes("head"):
                    ui.label(f"Pass {number + 1}")
                    button("delete_outline", f"Remove pass {number + 1}", partial(self._change_passes, number))
                self._group(ADetailerPass, one, ("adetailer", number), FACES)
            ui.button("Add a pass", icon="add", on_click=lambda: self._change_passes(None)).props("flat dense")

    def _change_passes(self, removed: int | None) -> None:
        passes = self.values.setdefault("adetailer", [])
        if removed is None:
            passes.append({})
        else:
            del passes[removed]
        self._draw()

    def _loras(self, form: dict[str, Any]) -> None:
        if not (names := self._lists.names("loras")):
            return

        def add(event: Any) -> None:
            if event.value:
                text = f"{form.get('prompt', '')} <lora:{event.value}:1>".strip()
                self._fields["txt2img", "prompt"].set_value(text)
                event.sender.set_value(None)

        ui.select(names, label="Add a LoRA to the prompt", with_input=True, on_change=add).props("outlined dense")

    def _group(self, model: type[BaseModel], values: dict[str, Any], path: Path, names: Iterable[str]) -> None:
        with ui.element("div").classes("fields"):
            for name in names:
                self._fields[*path, name] = self._control(name, model.model_fields[name], values)

    def _control(self, name: str, about: FieldInfo, values: dict[str, Any]) -> Any:
        """The control of a field; what is put in goes into ``values``, and out of it where it is empty."""
        given = values.get(name, None if about.is_required() else about.get_default(call_default_factory=True))
        title, help, kinds = (
            about.title or name,
            about.description or "",
            {about.annotation, *get_args(about.annotation)},
        )

        def put(value: Any) -> None:
            if value in (None, "") and name not in PROMPTS:
                values.pop(name, None)
            else:
                values[name] = value

        def changed(event: Any) -> None:
            event.sender.error = None
            put(event.value)

        if name in ("mask", "init_images"):
            return PictureField(title, help, given, several=name == "init_images", on_change=put)
        if name in FIELDS:
            several = list[str] in kinds or isinstance(given, list)
            known = self._lists.names(*FIELDS[name][0])
            own = given if isinstance(given, list) else [given]
            options = [*known, *(one for one in own if one and one not in known)]
            made: Any = ui.select(
                options, label=title, value=given, multiple=several, new_value_mode="add-unique", on_change=changed
            )
            made.props("use-chips" if several else "clearable" if None in kinds else "")
        elif bool in kinds and type(None) in kinds:
            made = ui.select({None: "where a prompt has some", True: "yes", False: "no"}, label=title, value=given)
            made.on_value_change(changed)
        elif bool in kinds:
            return ui.switch(title, value=bool(given), on_change=lambda e: put(e.value)).tooltip(help)
        elif kinds & {int, float}:
            step = 8 if name in ("width", "height") else 1 if int in kinds else 0.05
            made = ui.number(title, value=given, step=step, on_change=changed)
        elif name.endswith("prompt"):
            made = ui.textarea(title, value=given, on_change=changed).props("autogrow").classes("wide")
        else:
            made = ui.input(title, value=given, on_change=changed)
        made.props["title"] = help
        return made.props("outlined dense hide-bottom-space")

    # -- what is wrong ---------------------------------------------------------------------------------------

    def _read_yaml(self) -> bool:
        """Take the job from its YAML; says what is wrong with it."""
        if self._yaml is None:
            return True
        try:
            read = yaml.safe_load(self._yaml.value)
        except yaml.YAMLError as error:
            self._say({(): [f"This is no YAML: {error}"]})
            return False
        if not isinstance(read, dict):
            self._say({(): ["This is no job: it should begin with fields such as checkpoint: and txt2img:"]})
            return False
        self.values = read
        return True

    def _say(self, wrong: dict[Path, list[str]]) -> None:
        """Show these messages beside their fields, those of () below the form, and no others."""
        for path, control in self._fields.items():
            if path not in wrong:
                with suppress(AttributeError):
                    control.error = None
                continue
            text = "; ".join(wrong[path])
            if hasattr(control, "error"):
                control.error = text
            else:
                wrong.setdefault((), []).append(text)
        self._general.set_text(" ".join(wrong.get((), [])))
        self._general.set_visibility(bool(wrong.get(())))

    def _paths(self) -> Iterable[Path]:
        return [path for path in self._fields if path[-1] in FIELDS or str(path[-1]).endswith("prompt")]

    def _warnings(self, path: Path) -> list[str]:
        value: Any = self.values
        with suppress(LookupError):
            for part in path:
                value = value[part]
            found = [self._lists.wrong(str(path[-1]), value)]
            if isinstance(value, str) and str(path[-1]).endswith("prompt"):
                found += self._undrawn(value)
            return list(filter(None, found))
        return []

    def _undrawn(self, prompt: str) -> list[str]:
        """What looks as if it would be drawn for each picture, and will not be."""
        if self.values.get("wildcards") is False and (VARIANT.search(prompt) or WILDCARD.search(prompt)):
            return ["its braces and wildcards go to the WebUI as typed: Wildcards (under More) is switched off"]
        return [f"{one}: it goes to the WebUI as typed" for one in Wildcards(settings().wildcards).missing(prompt)]
