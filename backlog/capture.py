"""A job from a picture: the infotext that a WebUI wrote into it, read back as what paints it again.

The names are those that AUTOMATIC1111 and Forge write; the options are the ones that they read back for the same names
on "send to txt2img". ADetailer becomes the stage of its own, with the size of its inpainting as the WebUI had it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from backlog.task import InvalidJob
from flows.job import GenerationJob, explain
from tasks.adetailer import ADetailerPass
from webui import infotext

# What the infotext says of a picture and a job need not: the names of what made it, and hashes beside names.
SAID_ONLY = {"Version", "Model hash", "VAE hash", "TI hashes", "Hashes", "ADetailer version", "Batch size", "Batch pos"}
SAID_ONLY |= {"Template", "Negative Template"}  # what the prompts were drawn from
SAME = "Use same choices"  # the hires fix with the modules of the first pass, as a job's always is
FIELDS = {
    "Steps": "steps",
    "Sampler": "sampler_name",
    "Schedule type": "scheduler",
    "CFG scale": "cfg_scale",
    "Seed": "seed",
    "Clip skip": "clip_skip",
    "Hires upscale": "hr_scale",
    "Hires upscaler": "hr_upscaler",
    "Hires steps": "hr_second_pass_steps",
    "Denoising strength": "denoising_strength",
}
EXTRA = {
    "Variation seed": "subseed",
    "Variation seed strength": "subseed_strength",
    "Tiling": "tiling",
    "Distilled CFG Scale": "distilled_cfg_scale",
    "Eta": "eta",
    "Sigma churn": "s_churn",
    "Sigma tmin": "s_tmin",
    "Sigma tmax": "s_tmax",
    "Sigma noise": "s_noise",
    "Refiner": "refiner_checkpoint",
    "Refiner switch at": "refiner_switch_at",
    "Hires checkpoint": "hr_checkpoint_name",
    "Hires sampler": "hr_sampler_name",
    "Hires schedule type": "hr_scheduler",
    "Hires prompt": "hr_prompt",
    "Hires negative prompt": "hr_negative_prompt",
    "Hires CFG Scale": "hr_cfg",
    "Hires Distilled CFG Scale": "hr_distilled_cfg",
}
OPTIONS = {
    "ENSD": "eta_noise_seed_delta",
    "RNG": "randn_source",
    "Emphasis": "emphasis",
    "NGMS": "s_min_uncond",
    "Token merging ratio": "token_merging_ratio",
    "Token merging ratio hr": "token_merging_ratio_hr",
    "Beta schedule alpha": "beta_dist_alpha",
    "Beta schedule beta": "beta_dist_beta",
    "Face restoration": "face_restoration_model",
}
# What an infotext means that does not name them. A WebUI keeps them from one job to the next, so they are always said.
UNSAID = {"eta_noise_seed_delta": 0, "randn_source": "GPU"}
SCHEDULES = ("Karras", "Exponential", "Polyexponential")  # A1111 before 1.9 wrote them into the sampler's name
TEXTS = {"ad_prompt", "ad_negative_prompt", "ad_model", "hr_prompt", "hr_negative_prompt", "randn_source"}
# ADetailer's names in the infotext that are not its fields' names with blanks.
ADETAILER = {
    "inpaint_padding": "inpaint_only_masked_padding",
    "method_to_decide_top_k_masks": "mask_filter_method",
    "mask_only_top_k": "mask_k",
}


@dataclass(frozen=True)
class Captured:
    """A job, and what of the infotext it can't carry over, each with the reason."""

    job: GenerationJob
    lost: list[str] = field(default_factory=list)


def capture(picture: Path | bytes | str, name: str = "captured", modules: Iterable[str] = ()) -> Captured:
    """The job of a PNG (a path or its bytes) or of an infotext (text).

    Args:
        modules: the WebUI's VAEs and text encoders; an infotext names them without their endings.

    Raises:
        InvalidJob: it carries no infotext, or one that no job can be made of.
    """
    try:
        text = picture if isinstance(picture, str) else infotext.read(picture)
    except OSError as error:
        raise InvalidJob(f"{name}: not a picture that can be read ({error})") from None
    said = infotext.parse(text or "")
    if "Steps" not in said.settings:
        raise InvalidJob(f"{name} carries no infotext: only a picture as a WebUI saved it says how it was made")
    reader = _Reader({**said.settings})
    try:
        job = GenerationJob.model_validate(reader.job(name, said.prompt, said.negative_prompt, list(modules)))
    except ValidationError as error:
        raise InvalidJob(f"{name}: {explain(error)}") from None
    return Captured(
        job, reader.lost + [f"{key}: {value} (no field is known for it)" for key, value in reader.left.items()]
    )


class _Reader:
    """Takes the settings of an infotext one by one; ``left`` is what nobody took."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.left = settings
        self.lost: list[str] = []

    def job(self, name: str, prompt: str, negative: str, modules: list[str]) -> dict[str, Any]:
        model, model_hash = self.left.pop("Model", ""), self.left.get("Model hash", "")
        for known in SAID_ONLY:
            self.left.pop(known, None)
        if self.left.get("Hires Module 1") == SAME:
            del self.left["Hires Module 1"]
        for lora in re.findall(r"([^,:]+): [0-9a-f]+", self.left.pop("Lora hashes", "")):
            if f"<lora:{lora.strip()}:" not in prompt:
                self.lost.append(f"the LoRA {lora.strip()}: the prompt does not name it")
        size = [int(side) for side in re.findall(r"\d+", self.left.pop("Size", "512x512"))]
        passes = self._adetailer(size)
        return {
            "name": name[:80],
            "wildcards": False,  # the prompt is what was painted
            "checkpoint": model or model_hash,
            "vae": self._modules(modules),
            "upscale": self._upscale(),
            "txt2img": self._txt2img(size) | {"prompt": prompt, "negative_prompt": negative},
            "adetailer": passes,
        }

    def _txt2img(self, size: list[int]) -> dict[str, Any]:
        self._hires_size(size)
        form = {"width": size[0], "height": size[-1], **self._take(FIELDS)}
        extra, options = self._take(EXTRA), UNSAID | self._take(OPTIONS)
        if "hr_scale" in form:
            form["enable_hr"] = True
        elif form.pop("denoising_strength", None) is not None:
            self.lost.append("the picture that it was painted from: img2img, and an infotext does not hold its input")
        for schedule in SCHEDULES:  # "DPM++ 2M Karras"
            if "scheduler" not in form and str(form.get("sampler_name")).endswith(f" {schedule}"):
                form |= {"sampler_name": form["sampler_name"].removesuffix(f" {schedule}"), "scheduler": schedule}
        if "face_restoration_model" in options:
            extra["restore_faces"] = True
        if resized := re.findall(r"\d+", self.left.pop("Seed resize from", "")):
            extra |= {"seed_resize_from_w": int(resized[0]), "seed_resize_from_h": int(resized[-1])}
        if units := self._controlnet():
            extra["alwayson_scripts"] = {"ControlNet": {"args": units}}
        return form | {"extra": extra | {"override_settings": options}}

    def _take(self, names: dict[str, str]) -> dict[str, Any]:
        found = {key: self.left.pop(said) for said, key in names.items() if said in self.left}
        return {key: text if key in TEXTS else _value(text) for key, text in found.items()}

    def _hires_size(self, size: list[int]) -> None:
        """A size in place of a factor: the same factor, where it is one."""
        wanted = [int(side) for side in re.findall(r"\d+", self.left.pop("Hires resize", ""))]
        if len(wanted) == 2 and wanted[0] * size[-1] == wanted[1] * size[0]:
            self.left["Hires upscale"] = str(wanted[0] / size[0])
        elif wanted:
            self.lost.append(f"Hires resize: {wanted[0]}x{wanted[-1]} (the hires fix of a job only takes a factor)")

    def _modules(self, known: list[str]) -> list[str]:
        said = [self.left.pop(name) for name in list(self.left) if re.fullmatch(r"VAE|Module \d+", name)]
        found = []
        for one in said:
            full = next((name for name in known if one in (name, name.rpartition(".")[0])), None)
            if full is None and not one.endswith((".safetensors", ".ckpt", ".pt", ".gguf")):
                self.lost.append(f"the ending of the module {one}: write its whole name, as the WebUI lists it")
            found.append(full or one)
        return found

    def _upscale(self) -> dict[str, Any] | None:
        factor = self.left.pop("Postprocess upscale by", None)
        upscaler = self.left.pop("Postprocess upscaler", None)
        return {"upscaler": upscaler, "factor": float(factor)} if factor and upscaler else None

    def _adetailer(self, size: list[int]) -> list[dict[str, Any]]:
        passes: dict[int, dict[str, Any]] = {}
        for said in [name for name in self.left if name.startswith("ADetailer ")]:
            match = re.fullmatch(r"ADetailer (.+?)(?: (\d+)(?:st|nd|rd|th))?", said)
            assert match is not None, "it begins so"
            key = match[1].lower().replace(" ", "_").removeprefix("use_separate_")
            key = f"use_{key}" if "use separate" in match[1] else key
            key = f"ad_{ADETAILER.get(key, key)}"
            text = self.left.pop(said)
            passes.setdefault(int(match[2] or 1), {})[key] = text if key in TEXTS else _value(text)
        found = []
        for _, one in sorted(passes.items()):
            one.setdefault("ad_inpaint_only_masked", False)  # what is off is not said
            if "ad_inpaint_width" not in one:  # with the size before the hires fix, which a stage of its own has not
                one |= {"ad_use_inpaint_width_height": True, "ad_inpaint_width": size[0], "ad_inpaint_height": size[-1]}
            own = {key: one.pop(key) for key in list(one) if key in ADetailerPass.model_fields}
            found.append(own | {"extra": one})
        return found

    def _controlnet(self) -> list[dict[str, Any]]:
        units = []
        for said in [name for name in self.left if re.fullmatch(r"ControlNet \d+", name)]:
            pairs = re.findall(r"([\w .]+): ([^,]*)", self.left.pop(said))
            unit = {key.strip().lower().replace(" ", "_"): _value(text) for key, text in pairs}
            units.append(unit)
            self.lost.append(f"the picture of {said}: put it into txt2img.extra.alwayson_scripts.ControlNet as `image`")
        return units


def _value(text: str) -> Any:
    """A setting's text as a number, a truth value or text."""
    if text in ("True", "False"):
        return text == "True"
    number = re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text)
    return yaml.safe_load(text) if number else text
