"""ADetailer 25.3.0 as a script of the embedded WebUI: find faces, mask each, paint each again.

It is faithful above all in how it does nothing (recorded): an argument that its schema rejects drops the
unit without a word, an unknown model or an empty detection leaves the picture as it was, and the infotext
names the model all the same. Arguments are positional as in the real one: `args` overwrites, from the
front, the list [enable, skip_img2img, unit, unit, unit, unit], whose defaults stand where nothing was sent.
So a lone unit (without the two booleans) lands in the place of `enable`, and the default first unit runs too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from fastapi import FastAPI
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from webui.embedded.adetailer_unit import (
    MODELS,
    VERSION,
    Unit,
    default_args,
    enabled_units,
    infotext_of,
    unit_schema,
    wants_skip,
)
from webui.embedded.catalogue import find_sampler
from webui.embedded.generating import process_images
from webui.embedded.processing import Processing
from webui.embedded.scripts import Scripts

if TYPE_CHECKING:
    from webui.embedded.detector import Face

log = logging.getLogger(__name__)


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


def setup_adetailer_api(app: FastAPI, scripts: Scripts) -> None:
    """Register the script and /adetailer/v1/*; like the real ones these stay open under --api-auth."""
    scripts.register("adetailer", ADetailer())

    @app.get("/adetailer/v1/version", response_model=None)
    async def version() -> dict[str, str]:
        return {"version": VERSION}

    @app.get("/adetailer/v1/schema", response_model=None)
    async def schema() -> dict[str, Any]:
        return unit_schema()

    @app.get("/adetailer/v1/ad_model", response_model=None)
    async def ad_model() -> dict[str, list[str]]:
        return {"ad_model": list(MODELS)}
