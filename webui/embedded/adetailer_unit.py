"""What ADetailer 25.3.0 takes: its units, their checks, and what the infotext says of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

log = logging.getLogger(__name__)

VERSION = "25.3.0"
MODELS = (
    "mediapipe_face_full",
    "mediapipe_face_short",
    "mediapipe_face_mesh",
    "mediapipe_face_mesh_eyes_only",
)
UNITS = 4


def _whole(value: Any) -> Any:
    """The real schema is pydantic 1's, which cuts fractions off instead of refusing them."""
    return int(value) if isinstance(value, float) and math.isfinite(value) else value


Whole = Annotated[int, BeforeValidator(_whole)]
Natural = Annotated[int, Field(ge=0), BeforeValidator(_whole)]
Positive = Annotated[int, Field(gt=0), BeforeValidator(_whole)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Unit(BaseModel):
    """One detection and its inpainting. Names, bounds and defaults are the recorded schema's."""

    model_config = ConfigDict(title="ADetailerArgs", extra="forbid", coerce_numbers_to_str=True)

    ad_model: str = "None"
    ad_model_classes: str = ""
    ad_tab_enable: bool = True
    ad_prompt: str = ""
    ad_negative_prompt: str = ""
    ad_confidence: Share = 0.3
    ad_mask_filter_method: Literal["Area", "Confidence"] = "Area"
    ad_mask_k: Natural = 0
    ad_mask_min_ratio: Share = 0.0
    ad_mask_max_ratio: Share = 1.0
    ad_dilate_erode: Whole = 4
    ad_x_offset: Whole = 0
    ad_y_offset: Whole = 0
    ad_mask_merge_invert: Literal["None", "Merge", "Merge and Invert"] = "None"
    ad_mask_blur: Natural = 4
    ad_denoising_strength: Share = 0.4
    ad_inpaint_only_masked: bool = True
    ad_inpaint_only_masked_padding: Natural = 32
    ad_use_inpaint_width_height: bool = False
    ad_inpaint_width: Positive = 512
    ad_inpaint_height: Positive = 512
    ad_use_steps: bool = False
    ad_steps: Positive = 28
    ad_use_cfg_scale: bool = False
    ad_cfg_scale: Annotated[float, Field(ge=0)] = 7.0
    ad_use_checkpoint: bool = False
    ad_checkpoint: str | None = None
    ad_use_vae: bool = False
    ad_vae: str | None = None
    ad_use_sampler: bool = False
    ad_sampler: str = "DPM++ 2M Karras"
    ad_scheduler: str = "Use same scheduler"
    ad_use_noise_multiplier: bool = False
    ad_noise_multiplier: Annotated[float, Field(ge=0.5, le=1.5)] = 1.0
    ad_use_clip_skip: bool = False
    ad_clip_skip: Annotated[int, Field(ge=1, le=12), BeforeValidator(_whole)] = 1
    ad_restore_face: bool = False
    ad_controlnet_model: str = "None"
    ad_controlnet_module: str = "None"
    ad_controlnet_weight: Share = 1.0
    ad_controlnet_guidance_start: Share = 0.0
    ad_controlnet_guidance_end: Share = 1.0
    is_api: bool = True

    @property
    def is_off(self) -> bool:
        return self.ad_model == "None" or not self.ad_tab_enable

    def size(self, width: int, height: int) -> tuple[int, int]:
        if self.ad_use_inpaint_width_height:
            return self.ad_inpaint_width, self.ad_inpaint_height
        return width, height


def unit_schema() -> dict[str, Any]:
    """The unit's JSON schema as /adetailer/v1/schema answers it: optional texts are plain texts."""
    generated = Unit.model_json_schema()
    generated.pop("description")
    for described in generated["properties"].values():
        if "anyOf" in described:
            described |= described.pop("anyOf")[0]
            del described["default"]
    return generated


# What an infotext says of a unit, in its order: name, field, and the value at which it is not said.
# A name with a leading "use"-like switch hides what it switches.
_SAID: tuple[tuple[str, str, Any], ...] = (
    ("model", "ad_model", None),
    ("model classes", "ad_model_classes", ""),
    ("prompt", "ad_prompt", ""),
    ("negative prompt", "ad_negative_prompt", ""),
    ("confidence", "ad_confidence", None),
    ("method to decide top k masks", "ad_mask_filter_method", None),
    ("mask only top k", "ad_mask_k", 0),
    ("mask min ratio", "ad_mask_min_ratio", 0.0),
    ("mask max ratio", "ad_mask_max_ratio", 1.0),
    ("x offset", "ad_x_offset", 0),
    ("y offset", "ad_y_offset", 0),
    ("dilate erode", "ad_dilate_erode", None),
    ("mask merge invert", "ad_mask_merge_invert", "None"),
    ("mask blur", "ad_mask_blur", None),
    ("denoising strength", "ad_denoising_strength", None),
    ("inpaint only masked", "ad_inpaint_only_masked", False),
    ("inpaint padding", "ad_inpaint_only_masked_padding", None),
    ("use inpaint width height", "ad_use_inpaint_width_height", False),
    ("inpaint width", "ad_inpaint_width", None),
    ("inpaint height", "ad_inpaint_height", None),
    ("use separate steps", "ad_use_steps", False),
    ("steps", "ad_steps", None),
    ("use separate CFG scale", "ad_use_cfg_scale", False),
    ("CFG scale", "ad_cfg_scale", None),
    ("use separate checkpoint", "ad_use_checkpoint", False),
    ("checkpoint", "ad_checkpoint", None),
    ("use separate VAE", "ad_use_vae", False),
    ("VAE", "ad_vae", None),
    ("use separate sampler", "ad_use_sampler", False),
    ("sampler", "ad_sampler", None),
    ("scheduler", "ad_scheduler", None),
    ("use separate noise multiplier", "ad_use_noise_multiplier", False),
    ("noise multiplier", "ad_noise_multiplier", None),
    ("use separate CLIP skip", "ad_use_clip_skip", False),
    ("CLIP skip", "ad_clip_skip", None),
    ("restore face", "ad_restore_face", False),
    ("ControlNet model", "ad_controlnet_model", "None"),
    ("ControlNet module", "ad_controlnet_module", "None"),
    ("ControlNet weight", "ad_controlnet_weight", 1.0),
    ("ControlNet guidance start", "ad_controlnet_guidance_start", 0.0),
    ("ControlNet guidance end", "ad_controlnet_guidance_end", 1.0),
)
_HIDDEN_WITH: dict[str, tuple[str, ...]] = {
    "ad_mask_k": ("ad_mask_filter_method",),
    "ad_inpaint_only_masked": ("ad_inpaint_only_masked_padding",),
    "ad_use_inpaint_width_height": ("ad_inpaint_width", "ad_inpaint_height"),
    "ad_use_steps": ("ad_steps",),
    "ad_use_cfg_scale": ("ad_cfg_scale",),
    "ad_use_checkpoint": ("ad_checkpoint",),
    "ad_use_vae": ("ad_vae",),
    "ad_use_sampler": ("ad_sampler", "ad_scheduler"),
    "ad_use_noise_multiplier": ("ad_noise_multiplier",),
    "ad_use_clip_skip": ("ad_clip_skip",),
    "ad_controlnet_model": (
        "ad_controlnet_module",
        "ad_controlnet_weight",
        "ad_controlnet_guidance_start",
        "ad_controlnet_guidance_end",
    ),
}


def infotext_of(units: Sequence[Unit]) -> dict[str, Any]:
    """What the infotext says of the units: all that was asked, whether or not it had an effect."""
    said: dict[str, Any] = {}
    for number, unit in enumerate(units, 1):
        if not unit.is_off:
            suffix = "" if number == 1 else f" {_ordinal(number)}"
            said |= {f"ADetailer {name}{suffix}": value for name, value in _said_of(unit)}
    return {**said, "ADetailer version": VERSION}


def _said_of(unit: Unit) -> Iterator[tuple[str, Any]]:
    unsaid = {field for _, field, silent in _SAID if silent is not None and getattr(unit, field) == silent}
    unsaid |= {hidden for switch in unsaid for hidden in _HIDDEN_WITH.get(switch, ())}
    return ((name, getattr(unit, field)) for name, field, _ in _SAID if field not in unsaid)


def _ordinal(number: int) -> str:
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th') }"


def default_args() -> list[Any]:
    """What the page of a real WebUI would send: off, and a first unit with the first model chosen."""
    first = {"ad_model": MODELS[0], "ad_sampler": "DPM++ 2M"}
    return [False, False, first, *({**first, "ad_model": "None"} for _ in range(UNITS - 1))]


def enabled_units(args: Sequence[Any]) -> list[Unit]:
    """The units that `args` (already laid over the defaults) asks for; empty if ADetailer is off.

    A unit that the schema rejects is dropped and logged, as in the real one.
    """
    if args and isinstance(args[0], bool) and not args[0]:
        return []
    units = []
    for number, given in enumerate((arg for arg in args if isinstance(arg, dict)), 1):
        try:
            units.append(Unit(**given))
        except (ValidationError, TypeError) as error:
            log.warning("ADetailer: unit %d dropped, its arguments are not valid: %s", number, error)
    return [] if all(unit.is_off for unit in units) else units


def wants_skip(args: Sequence[Any]) -> bool:
    """Whether img2img itself is to be skipped: the second positional boolean, nothing else."""
    return len(args) >= 2 and args[1] is True
