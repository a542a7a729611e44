"""What a WebUI has, and what of a job's names it lacks.

A WebUI answers 200 to most wrong names and paints something else: an unknown sampler becomes another, an unknown
style, LoRA or field is ignored, ADetailer drops itself. So every name of a job is looked up first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from jsonschema import Draft202012Validator

from webui.client import WebUIClient
from webui.models import Checkpoint, Names

LORA = re.compile(r"<lora:([^:>]+)")
# Each kind of name: the client's methods that list it, and the fields of a payload, of its overridden settings and of
# an ADetailer pass that hold one or several. A checkpoint has more than one name, and a prompt names LoRAs in its text.
KINDS = {
    "checkpoint": (["checkpoints"], ["refiner_checkpoint", "hr_checkpoint_name", "ad_checkpoint"]),
    "LoRA": (["loras"], [f"{of}{sign}prompt" for of in ("", "hr_", "ad_") for sign in ("", "negative_")]),
    "sampler": (["samplers"], ["sampler_name", "hr_sampler_name", "ad_sampler"]),
    "scheduler": (["schedulers"], ["scheduler", "hr_scheduler", "ad_scheduler"]),
    "style": (["styles"], ["styles"]),
    "VAE": (["vaes"], ["forge_additional_modules", "hr_additional_modules", "sd_vae", "ad_vae"]),
    "upscaler": (["upscalers"], ["upscaler_1", "upscaler_2"]),
    "hires fix upscaler": (["upscalers", "latent_upscale_modes"], ["hr_upscaler"]),
    "ADetailer model": (["adetailer_models"], ["ad_model"]),
}
# What stands for no name, as field=value. An unknown scheduler becomes Automatic in any case.
NO_NAME = re.compile(r"(scheduler|sd_vae)=Automatic|(sd_vae|refiner_checkpoint)=[Nn]one|(hr|ad)_\w+=Use same .*")
LONGEST = 200  # characters of a name, or of a schema's complaint, in a message: both may hold a whole picture


class Inventory:
    """What one WebUI has, each list asked for at most once.

    Attributes:
        problems: what is missing, as sentences for a person; the caller empties it for each job.
        checkpoints: those that were found, by the names that the job gives; likewise.
    """

    def __init__(self, client: WebUIClient) -> None:
        self.client = client
        self.problems: list[str] = []
        self.checkpoints: dict[str, Checkpoint] = {}
        self._lists: dict[str, Any] = {}

    @property
    def forge(self) -> bool:
        """Whether the WebUI is Forge, and not AUTOMATIC1111."""
        return bool(self.have("is_forge"))

    def have(self, *lists: str) -> Any:
        """What the client's method of this name answers, asked for once; several are asked for side by side, and the
        first is returned."""
        missing = [name for name in lists if name not in self._lists]
        with ThreadPoolExecutor() as pool:
            answers = pool.map(lambda name: getattr(self.client, name)(), missing)
        self._lists |= dict(zip(missing, answers, strict=True))
        return self._lists[lists[0]]

    def checkpoint(self, name: str) -> None:
        """A checkpoint by any of its names; files that are new to the WebUI are found by a refresh."""
        if not any(one.is_called(name) for one in self.have("checkpoints")):
            self.client.refresh_checkpoints()
            del self._lists["checkpoints"]
        found = [one for one in self.have("checkpoints") if one.is_called(name)]
        if found:
            self.checkpoints[name] = found[0]
        else:
            by_file = name.endswith((".safetensors", ".ckpt"))
            self._missing("checkpoint", name, [one.file if by_file else one.stem for one in self.have("checkpoints")])

    def vae(self, names: list[str]) -> None:
        """The modules of a job: on Forge VAE and text encoders, on AUTOMATIC1111 one VAE."""
        if len(names) > 1 and not self.forge:
            self.problems.append(
                f"the job names {len(names)} modules as vae ({', '.join(names)}), but this WebUI is AUTOMATIC1111, "
                "which loads one VAE and no text encoders: name one, or use Forge"
            )
        self.names({"forge_additional_modules": names})

    def payload(self, endpoint: str, fields: dict[str, Any], extra: dict[str, Any]) -> None:
        """What a stage sends to ``endpoint``: the fields of its form, and ``extra``, which may hold any."""
        overrides = extra.get("override_settings", {})
        self.names(fields | extra | overrides)
        scripts = [extra["script_name"]] if extra.get("script_name") else []
        for name in [*scripts, *extra.get("alwayson_scripts", {})]:
            if str(name).lower() not in (known := self.have("scripts").get(endpoint, [])):
                self._missing(f"{endpoint} script", str(name), known)
        with suppress(LookupError, TypeError):  # a WebUI that does not publish its schema, or one of another form
            if fields.get("sampler_name") == "UniPC":
                least = (self.have("options") | overrides)["uni_pc_order"]
                if fields["steps"] < least:
                    self.problems.append(f"UniPC takes at least {least:g} steps here, {fields['steps']} are asked for")
            if extra:
                parts = (api := self.have("openapi"))["components"]
                body = api["paths"][f"/sdapi/v1/{endpoint}"]["post"]["requestBody"]["content"]["application/json"]
                name = body["schema"]["$ref"].rpartition("/")[2]
                self.fits(f"{endpoint} field", extra, parts["schemas"][name] | {"components": parts})
                self.fits("setting", overrides, parts["schemas"]["Options"])

    def names(self, fields: dict[str, Any]) -> None:
        """All names in fields of the WebUI's API, as KINDS has them."""
        for kind, (lists, holding) in KINDS.items():
            for name in (name for field in holding for name in _names(field, fields.get(field))):
                if kind == "checkpoint":
                    self.checkpoint(name)
                elif name not in (known := self._known(lists)):
                    self._missing(kind, name, known)

    def fits(self, what: str, fields: dict[str, Any], schema: dict[str, Any]) -> None:
        """Fields against a JSON schema; one that it does not name is a problem whether it forbids others or not."""
        known = schema["properties"]
        for field in sorted(map(str, fields.keys() - known.keys())):
            self._missing(what, field, known)
        for error in Draft202012Validator(schema | {"additionalProperties": True}).iter_errors(fields):
            said = [*(error.context or []), error][0].message[-LONGEST:]  # the value, and at its end the reason
            self.problems.append(f"{what} {'.'.join(map(str, error.path))}: {said}")

    def _known(self, lists: list[str]) -> set[str]:
        # Not the aliases of samplers: a WebUI lists k_euler and then paints with another sampler.
        entries = [one if isinstance(one, Names) else Names(name=one) for what in lists for one in self.have(what)]
        return {name for one in entries for name in (one.name, one.label, one.alias) if name}

    def _missing(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.problems.append(f"the WebUI has no {kind} {name[:LONGEST]!r}{near(name, known)}")


def _names(field: str, value: Any) -> list[str]:
    """The names that a field holds; the LoRAs of a prompt. What is no text is the schema's to tell."""
    texts = [one for one in (value if isinstance(value, list) else [value]) if one and isinstance(one, str)]
    if field.endswith("prompt"):
        return [name.strip() for text in texts for name in LORA.findall(text)]
    return [text for text in texts if not NO_NAME.fullmatch(f"{field}={text}")]


def near(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest names, ignoring case, or at what there is when it is little."""
    by_lower = {one.lower(): one for one in known}
    matches = [by_lower[match] for match in get_close_matches(name[:LONGEST].lower(), by_lower, n=3, cutoff=0.5)]
    if matches:
        return f" (did you mean {' or '.join(map(repr, matches))}?)"
    if len(by_lower) <= 8:
        return f" (it has {', '.join(map(repr, sorted(by_lower.values()))) or 'none'})"
    return ""
