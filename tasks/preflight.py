"""What only the WebUI knows, asked before the GPU is taken.

A WebUI answers 200 to most wrong names and paints something else: an unknown sampler becomes another, an unknown
style or LoRA is ignored, ADetailer drops itself. So every name of a job is looked up first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from jsonschema import Draft202012Validator

from tasks.adetailer import ADetailerPass
from tasks.txt2img import Txt2Img
from webui.client import WebUIClient
from webui.errors import NotFound
from webui.models import Checkpoint, Names

LORA = re.compile(r"<lora:([^:>]+)")


class JobRefused(ValueError):
    """The WebUI does not have what the job names. The message says each name, and what comes near it."""


class Inventory:
    """What one WebUI has, each list asked for at most once; collects what is missing."""

    def __init__(self, client: WebUIClient) -> None:
        self.client = client
        self.problems: list[str] = []
        self._lists: dict[str, Any] = {}
        self.forge = client.is_forge()

    def checkpoint(self, name: str) -> Checkpoint | None:
        """The checkpoint that ``name`` means; files that are new to the WebUI are found by a refresh."""
        if (found := self._find(name)) is None:
            self.client.refresh_checkpoints()
            self._lists.pop("checkpoints", None)
            found = self._find(name)
        if found is None:
            by_file = name.endswith((".safetensors", ".ckpt"))
            self._missing("checkpoint", name, [one.file if by_file else one.stem for one in self._have("checkpoints")])
        return found

    def _find(self, name: str) -> Checkpoint | None:
        return next((one for one in self._have("checkpoints") if one.is_called(name)), None)

    def vae(self, name: str | None) -> str | None:
        if name is not None:
            self._named("VAE", name, self._have("vaes"))
        return name

    def sampling(self, form: Txt2Img, *, hires: bool = True) -> None:
        """The names in one stage's sampling settings."""
        # Not the aliases: a WebUI lists k_euler and then paints with another sampler.
        self._named("sampler", form.sampler_name, self._have("samplers"))
        schedulers = self._have("schedulers")
        known = {one.name for one in schedulers} | {one.label for one in schedulers if one.label}
        self._one_of("scheduler", form.scheduler, known)
        for style in form.styles:
            self._named("style", style, self._have("styles"))
        self._loras(form.prompt)
        if form.enable_hr and hires:
            known = {one.name for one in self._have("upscalers") + self._have("latent_upscale_modes")}
            self._one_of("hires fix upscaler", form.hr_upscaler, known)

    def _loras(self, prompt: str) -> None:
        for lora in LORA.findall(prompt):
            known = {one.name for one in self._have("loras")} | {one.alias for one in self._have("loras")}
            self._one_of("LoRA", lora.strip(), {name for name in known if name})

    def upscaler(self, name: str) -> None:
        self._named("upscaler", name, self._have("upscalers"))

    def scripts(self, extra: dict[str, Any], endpoint: str) -> None:
        """The scripts that a stage's ``extra`` names."""
        names = [extra["script_name"]] if extra.get("script_name") else []
        for name in [*names, *extra.get("alwayson_scripts", {})]:
            known = set(self._have("scripts").get(endpoint, []))
            if str(name).lower() not in known:
                self._missing(f"{endpoint} script", str(name), known)

    def adetailer(self, passes: list[ADetailerPass]) -> None:
        """The passes, against ADetailer's own list of models and its own schema."""
        try:
            schema = self.client.adetailer_schema()
        except NotFound:
            self.problems.append(
                "the job has an adetailer stage, but the WebUI has no ADetailer: install the extension"
            )
            return
        # Without this, a schema that only omits a field would not find a typing error, and ADetailer would.
        schema.setdefault("additionalProperties", False)
        for number, one in enumerate(passes, start=1):
            self._one_of("ADetailer model", one.ad_model, self._have("adetailer_models"))
            self._loras(one.ad_prompt)
            for error in Draft202012Validator(schema).iter_errors(one.arguments()):
                unknown = re.findall(r"'(\w+)' (?:was|were) unexpected", error.message)
                near = "".join(_near(name, schema.get("properties", {})) for name in unknown)
                self.problems.append(f"adetailer pass {number}: {'.'.join(map(str, error.path))} {error.message}{near}")

    def _have(self, what: str) -> Any:
        if what not in self._lists:
            ask: Callable[[], Any] = getattr(self.client, what)
            self._lists[what] = ask()
        return self._lists[what]

    def _named(self, kind: str, name: str, known: list[Names]) -> None:
        self._one_of(kind, name, {one.name for one in known})

    def _one_of(self, kind: str, name: str, known: Iterable[str]) -> None:
        if name not in set(known):
            self._missing(kind, name, known)

    def _missing(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.problems.append(f"the WebUI has no {kind} {name!r}{_near(name, known)}")


def _near(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest names, ignoring case, or at what there is when it is little."""
    by_lower = {str(one).lower(): str(one) for one in known}
    near = [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
    if near:
        return f" (did you mean {' or '.join(map(repr, near))}?)"
    if len(by_lower) <= 8:
        return f" (it has {', '.join(map(repr, sorted(by_lower.values()))) or 'none'})"
    return ""
