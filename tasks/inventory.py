"""What a WebUI has, and what of a job's names it lacks.

A WebUI answers 200 to most wrong names and paints something else: an unknown sampler becomes another, an unknown
style or LoRA is ignored, ADetailer drops itself. So every name of a job is looked up first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from tasks.sampling import Sampling
from webui.client import WebUIClient
from webui.models import Checkpoint, Names

LORA = re.compile(r"<lora:([^:>]+)")


class Inventory:
    """What one WebUI has, each list asked for at most once.

    Attributes:
        problems: what is missing, as sentences for a person; the caller empties it for each job.
    """

    def __init__(self, client: WebUIClient) -> None:
        self.client = client
        self.problems: list[str] = []
        self._lists: dict[str, Any] = {}

    @property
    def forge(self) -> bool:
        """Whether the WebUI is Forge, and not AUTOMATIC1111."""
        return bool(self.have("is_forge"))

    def checkpoint(self, name: str) -> Checkpoint | None:
        """The checkpoint that ``name`` means; files that are new to the WebUI are found by a refresh."""
        if (found := self._find(name)) is None:
            self.client.refresh_checkpoints()
            self._lists.pop("checkpoints", None)
            found = self._find(name)
        if found is None:
            by_file = name.endswith((".safetensors", ".ckpt"))
            self._missing("checkpoint", name, [one.file if by_file else one.stem for one in self.have("checkpoints")])
        return found

    def _find(self, name: str) -> Checkpoint | None:
        return next((one for one in self.have("checkpoints") if one.is_called(name)), None)

    def vae(self, names: Sequence[str]) -> None:
        """The modules of a job: on Forge VAE and text encoders, on AUTOMATIC1111 one VAE."""
        if len(names) > 1 and not self.forge:
            self.problems.append(
                f"the job names {len(names)} modules as vae ({', '.join(names)}), but this WebUI is AUTOMATIC1111, "
                "which loads one VAE and no text encoders: name one, or use Forge"
            )
        for name in names:
            self.one_of("VAE", name, self.have("vaes"))

    def sampling(self, sampling: Sampling) -> None:
        """The names in one stage's sampling settings."""
        # Not the aliases: a WebUI lists k_euler and then paints with another sampler.
        self.one_of("sampler", sampling.sampler_name, self.have("samplers"))
        schedulers = self.have("schedulers")
        known = {one.name for one in schedulers} | {one.label for one in schedulers if one.label}
        self.one_of("scheduler", sampling.scheduler, known)
        for style in sampling.styles:
            self.one_of("style", style, self.have("styles"))
        self.loras(sampling.prompt)

    def loras(self, prompt: str) -> None:
        """The LoRAs that a prompt names."""
        for lora in LORA.findall(prompt):
            known = {one.name for one in self.have("loras")} | {one.alias for one in self.have("loras")}
            self.one_of("LoRA", lora.strip(), {name for name in known if name})

    def extra(self, extra: dict[str, Any], endpoint: str) -> None:
        """The scripts and the modules that a stage's ``extra`` names."""
        names = [extra["script_name"]] if extra.get("script_name") else []
        for name in [*names, *extra.get("alwayson_scripts", {})]:
            known = set(self.have("scripts").get(endpoint, []))
            if str(name).lower() not in known:
                self._missing(f"{endpoint} script", str(name), known)
        modules = extra.get("override_settings", {}).get("forge_additional_modules", [])
        self.vae([modules] if isinstance(modules, str) else modules)

    def have(self, what: str) -> Any:
        """What the client's method ``what`` answers, asked for once."""
        if what not in self._lists:
            ask: Callable[[], Any] = getattr(self.client, what)
            self._lists[what] = ask()
        return self._lists[what]

    def one_of(self, kind: str, name: str, known: Iterable[str | Names]) -> None:
        """A problem, with the near matches, where ``name`` is none of ``known``."""
        names = {one if isinstance(one, str) else one.name for one in known}
        if name not in names:
            self._missing(kind, name, names)

    def _missing(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.problems.append(f"the WebUI has no {kind} {name!r}{near(name, known)}")


def near(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest names, ignoring case, or at what there is when it is little."""
    by_lower = {str(one).lower(): str(one) for one in known}
    matches = [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
    if matches:
        return f" (did you mean {' or '.join(map(repr, matches))}?)"
    if len(by_lower) <= 8:
        return f" (it has {', '.join(map(repr, sorted(by_lower.values()))) or 'none'})"
    return ""
