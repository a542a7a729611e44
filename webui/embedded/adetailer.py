"""ADetailer 25.3.0 as a script of the embedded WebUI: find faces, mask each, paint each again.

It is faithful above all in how it does nothing (recorded): an argument that its schema rejects drops the
unit without a word, an unknown model or an empty detection leaves the picture as it was, and the infotext
names the model all the same. Arguments are positional as in the real one: `args` overwrites, from the
front, the list [enable, skip_img2img, unit, unit, unit, unit], whose defaults stand where nothing was sent.
So a lone unit (without the two booleans) lands in the place of `enable`, and the default first unit runs too.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from weakref import WeakKeyDictionary

from fastapi import FastAPI
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from webui.embedded.detector import Face
    from webui.embedded.processing import Processing
    from webui.embedded.server import EmbeddedWebUI

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


# -- arguments -----------------------------------------------------------------------------------------


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


# -- masks ---------------------------------------------------------------------------------------------


def face_masks(faces: Sequence[Face], unit: Unit, size: tuple[int, int]) -> list[Image.Image]:
    """One mask (mode L, white where to paint) for each face that the unit's filters let through, from left
    to right; one for all with merge."""
    area = size[0] * size[1]
    kept = [face for face in faces if unit.ad_mask_min_ratio <= _area(face) / area <= unit.ad_mask_max_ratio]
    if unit.ad_mask_k:
        by = _area if unit.ad_mask_filter_method == "Area" else (lambda face: face.confidence)
        kept = sorted(kept, key=by, reverse=True)[: unit.ad_mask_k]
    masks = [_mask_of(face, unit, size) for face in kept]
    if not masks or unit.ad_mask_merge_invert == "None":
        return masks
    merged = masks[0]
    for mask in masks[1:]:
        merged = ImageChops.lighter(merged, mask)
    return [ImageOps.invert(merged) if unit.ad_mask_merge_invert == "Merge and Invert" else merged]


def _area(face: Face) -> float:
    left, top, right, bottom = face.box
    return float((right - left) * (bottom - top))


def _mask_of(face: Face, unit: Unit, size: tuple[int, int]) -> Image.Image:
    """The face's shape as the model sees it, moved, then grown by the unit's pixels (shrunk below 0)."""
    mask = Image.new("L", size)
    left, top, right, bottom = face.box
    draw = ImageDraw.Draw(mask)
    match unit.ad_model:
        case "mediapipe_face_mesh":
            draw.ellipse(face.box, fill=255)
        case "mediapipe_face_mesh_eyes_only":
            height = bottom - top
            draw.ellipse((left, top + 0.28 * height, right, top + 0.55 * height), fill=255)
        case _:
            draw.rectangle(face.box, fill=255)
    # The real one moves x to the right and y upwards.
    if unit.ad_x_offset or unit.ad_y_offset:
        moved = (1, 0, -unit.ad_x_offset, 0, 1, unit.ad_y_offset)
        mask = mask.transform(size, Image.Transform.AFFINE, moved)
    if reach := abs(unit.ad_dilate_erode) // 2:
        grow = ImageFilter.MaxFilter if unit.ad_dilate_erode > 0 else ImageFilter.MinFilter
        mask = mask.filter(grow(2 * reach + 1))
    return mask


def prompts_for(asked: str, main: str, count: int) -> list[str]:
    """The prompt of each of `count` masks: `[SEP]` parts them (the last serves the rest), `[PROMPT]` stands
    for the picture's own, and an empty one is the picture's own."""
    parts = re.split(r"\s*\[SEP\]\s*", asked)
    prompts = [part.replace("[PROMPT]", main) if part.strip() else main for part in parts]
    return [prompts[min(number, len(prompts) - 1)] for number in range(count)]


# -- the script ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """What a job wanted before img2img was made to do as little as possible."""

    units: list[Unit]
    skips_img2img: bool
    steps: Any
    sampler_name: str
    width: Any
    height: Any


class ADetailer:
    """The always-on script. ControlNet, noise multiplier and face restoration are taken and have no effect:
    the painter knows nothing of them."""

    def __init__(self) -> None:
        self._asked: WeakKeyDictionary[Processing, _Asked] = WeakKeyDictionary()

    def default_args(self) -> list[Any]:
        return default_args()

    def before(self, p: Processing, args: Sequence[Any]) -> None:
        """Note what is asked, mark the infotext, make a skipped img2img one step at 128 pixels (recorded)."""
        units = enabled_units(args)
        if not units:
            return
        skips = p.kind == "img2img" and bool(p.init_images) and wants_skip(args)
        if skips and p.image_mask is not None:
            log.warning("ADetailer: does nothing, for skip img2img does not go with inpainting")
            return
        self._asked[p] = _Asked(units, skips, p.steps, p.sampler_name, p.width, p.height)
        if skips:
            p.steps, p.sampler_name, p.width, p.height = 1, "Euler", 128, 128
        p.extra_generation_params |= infotext_of(units)

    def postprocess_image(self, p: Processing, image: Image.Image, index: int, args: Sequence[Any]) -> Image.Image:
        """The picture with every face that is found painted again."""
        asked = self._asked.get(p)
        if asked is None:
            return image
        if asked.skips_img2img:
            image = p.init_images[0].convert("RGB")
        for unit in asked.units:
            if unit.is_off:
                continue
            if unit.ad_model not in MODELS:
                # The real one raises here, and the script runner swallows it with the units that follow.
                log.warning("ADetailer: there is no model %r; there are %s", unit.ad_model, MODELS)
                break
            image = _detailed(p, asked, unit, image, index)
        return image


def _detailed(p: Processing, asked: _Asked, unit: Unit, image: Image.Image, index: int) -> Image.Image:
    """One unit's work. Each mask is a job of the state, so that progress falls back when masks are found."""
    from webui.embedded.detector import find_faces  # imported here: numpy and scikit-image take their time
    from webui.embedded.processing import process_images

    state = p.engine.state
    if state.must_stop_sampling:
        return image
    faces = find_faces(image, unit.ad_confidence)
    if not faces:
        log.info("ADetailer: nothing detected with %s", unit.ad_model)
        return image
    masks = face_masks(faces, unit, image.size)
    state.assign_current_image(_marked(image, faces))
    state.job_count += len(masks)
    prompts = prompts_for(unit.ad_prompt, p.all_prompts[index], len(masks))
    negatives = prompts_for(unit.ad_negative_prompt, p.all_negative_prompts[index], len(masks))
    for number, (mask, prompt, negative) in enumerate(zip(masks, prompts, negatives, strict=True)):
        if prompt.strip() != "[SKIP]":
            inpaint = _inpainting(p, asked, unit, index, init_images=[image], image_mask=mask)
            inpaint.prompt, inpaint.negative_prompt = prompt, negative
            inpaint.seed = p.all_seeds[index] + number
            image = process_images(inpaint).images[0]
    return image


def _inpainting(p: Processing, asked: _Asked, unit: Unit, index: int, **changes: Any) -> Processing:
    """An img2img job like `p`'s own, with what the unit changes."""
    from webui.embedded.catalogue import find_sampler

    sampler, scheduler = asked.sampler_name, p.scheduler
    if unit.ad_use_sampler and unit.ad_sampler != "Use same sampler":
        wanted = scheduler if unit.ad_scheduler == "Use same scheduler" else unit.ad_scheduler
        found, found_scheduler = find_sampler(unit.ad_sampler, wanted)
        sampler, scheduler = found.name, found_scheduler.name
    width, height = unit.size(asked.width, asked.height)
    return p.copy_for(
        "img2img",
        **changes,
        width=width,
        height=height,
        steps=unit.ad_steps if unit.ad_use_steps else asked.steps,
        cfg_scale=unit.ad_cfg_scale if unit.ad_use_cfg_scale else p.cfg_scale,
        sampler_name=sampler,
        scheduler=scheduler,
        denoising_strength=unit.ad_denoising_strength,
        mask_blur=unit.ad_mask_blur,
        inpaint_full_res=unit.ad_inpaint_only_masked,
        inpaint_full_res_padding=unit.ad_inpaint_only_masked_padding,
        inpainting_fill=1,
        inpainting_mask_invert=0,
        resize_mode=0,
        subseed=p.all_subseeds[index],
        n_iter=1,
        batch_size=1,
        styles=[],
        enable_hr=False,
        refiner_checkpoint=None,
        override_settings=_overrides(p, unit),
        override_settings_restore_afterwards=True,
        do_not_save_samples=True,
        do_not_save_grid=True,
    )


def _overrides(p: Processing, unit: Unit) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    if unit.ad_use_checkpoint and unit.ad_checkpoint not in (None, "None", "Use same checkpoint"):
        overrides["sd_model_checkpoint"] = unit.ad_checkpoint
    if unit.ad_use_vae and unit.ad_vae not in (None, "None", "Use same VAE"):
        if p.engine.settings.forge:
            overrides["forge_additional_modules"] = [unit.ad_vae]
        else:
            overrides["sd_vae"] = unit.ad_vae
    if unit.ad_use_clip_skip:
        overrides["CLIP_stop_at_last_layers"] = unit.ad_clip_skip
    return overrides


def _marked(image: Image.Image, faces: Sequence[Face]) -> Image.Image:
    """The live preview of a detection: the picture with a box around each face."""
    marked = image.copy()
    for face in faces:
        ImageDraw.Draw(marked).rectangle(face.box, outline=(255, 0, 0), width=2)
    return marked


def setup_adetailer_api(app: FastAPI, server: EmbeddedWebUI) -> None:
    """Register the script and /adetailer/v1/*; like the real ones these stay open under --api-auth."""
    server.engine.scripts.register("adetailer", ADetailer())

    @app.get("/adetailer/v1/version", response_model=None)
    async def version() -> dict[str, str]:
        return {"version": VERSION}

    @app.get("/adetailer/v1/schema", response_model=None)
    async def schema() -> dict[str, Any]:
        return unit_schema()

    @app.get("/adetailer/v1/ad_model", response_model=None)
    async def ad_model() -> dict[str, list[str]]:
        return {"ad_model": list(MODELS)}
