"""Hires fix: the second pass of a txt2img job, which enlarges the pictures and paints them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from PIL import Image

from webui.embedded.catalogue import LATENT_UPSCALE_MODES, SAMPLERS, UPSCALERS, find_scheduler
from webui.embedded.checkpoints import Model
from webui.embedded.limits import whole_cells
from webui.embedded.loras import without_tags
from webui.embedded.processing import Processing
from webui.embedded.sampling import brief_of, paint


def prepare_hires(p: Processing) -> None:
    said = p.extra_generation_params
    said["Denoising strength"] = p.denoising_strength
    if p.hr_checkpoint_name and p.hr_checkpoint_name != "Use same checkpoint":
        p.hr_checkpoint = p.engine.checkpoints.require(p.hr_checkpoint_name)
        said["Hires checkpoint"] = p.hr_checkpoint.title
    if p.hr_sampler_name and p.hr_sampler_name not in ("Use same sampler", p.sampler_name):
        said["Hires sampler"] = p.hr_sampler_name
    if p.hr_scheduler and p.hr_scheduler not in ("Use same scheduler", p.scheduler):
        said["Hires schedule type"] = find_scheduler(p.hr_scheduler).label
    if p.engine.settings.forge:
        said["Hires Module 1"] = "Use same choices"
        said["Hires CFG Scale"] = p.hr_cfg
    if p.hr_prompt:
        said["Hires prompt"] = p.hr_prompt
    if p.hr_negative_prompt:
        said["Hires negative prompt"] = p.hr_negative_prompt
    if p.hr_upscaler is not None and p.hr_upscaler not in (*LATENT_UPSCALE_MODES, *UPSCALERS):
        raise Exception(f"could not find upscaler named {p.hr_upscaler}")
    if p.hr_resize_x == 0 and p.hr_resize_y == 0:
        said["Hires upscale"] = p.hr_scale
        p.hr_upscale_to = int(p.width * p.hr_scale), int(p.height * p.hr_scale)
    else:
        said["Hires resize"] = f"{p.hr_resize_x}x{p.hr_resize_y}"
        width = p.hr_resize_x or p.hr_resize_y * p.width // p.height
        height = p.hr_resize_y or p.hr_resize_x * p.height // p.width
        p.hr_upscale_to = width, height
    state = p.engine.state
    if not state.has_refined_job_count:
        if state.job_count == -1:
            state.job_count = p.n_iter
        state.job_count *= 2
        state.has_refined_job_count = True
    if p.hr_second_pass_steps:
        said["Hires steps"] = p.hr_second_pass_steps
    if p.hr_upscaler is not None:
        said["Hires upscaler"] = p.hr_upscaler


def hires_pass(p: Processing, model: Model, batch: range, first: list[Image.Image]) -> list[Image.Image]:
    """The second pass: the pictures enlarged and painted again."""
    state = p.engine.state
    # Without the field Forge fails with a TypeError here (recorded), and so does this.
    if p.engine.settings.forge and "Use same choices" not in p.hr_additional_modules:  # type: ignore[operator]  # see above
        raise NotImplementedError("the embedded WebUI keeps its modules between the passes of hires fix")
    if state.interrupted:
        return first
    width, height = whole_cells(p.hr_upscale_to[0]), whole_cells(p.hr_upscale_to[1])
    steps = p.hr_second_pass_steps or p.steps
    own_sampler = p.hr_sampler_name if p.hr_sampler_name not in (None, "", "Use same sampler") else p.sampler_name
    assert own_sampler in SAMPLERS, f"bad sampler name: {own_sampler}"
    sampler = SAMPLERS[own_sampler]
    state.nextjob()
    with _second_checkpoint(p) as second:
        return paint(
            p,
            sampler,
            [
                replace(
                    brief_of(p, second or model, index, sampler, p.hr_scheduler or p.scheduler),
                    prompt=p.engine.loras.applied(p.hr_prompt or p.all_prompts[index]),
                    negative_prompt=without_tags(p.hr_negative_prompt or p.all_negative_prompts[index]),
                    width=width,
                    height=height,
                    cfg_scale=p.cfg_scale if not p.hr_cfg or p.hr_cfg == 1.0 else p.hr_cfg,
                    # The request counts steps taken; the painter, like img2img, takes a share of those asked for.
                    steps=_steps_for(steps, p.denoising_strength),
                    init_image=image.resize((width, height), Image.Resampling.LANCZOS),
                    denoising_strength=p.denoising_strength,
                )
                for index, image in zip(batch, first, strict=True)
            ],
        )


@contextmanager
def _second_checkpoint(p: Processing) -> Iterator[Model | None]:
    """The second pass's own checkpoint, if it has one, in memory for its time."""
    if p.hr_checkpoint is None:
        yield None
        return
    p.engine.loader.select(p.hr_checkpoint)
    try:
        yield p.engine.load_model()
    finally:
        p.engine.settings.want_selected()


def _steps_for(taken: int, strength: float) -> int:
    """The number of steps of which img2img at this strength takes `taken`."""
    share = min(strength, 0.999)
    if share <= 0:
        return taken
    steps = max(1, int((taken - 1) / share))
    while int(share * steps) + 1 < taken:
        steps += 1
    return steps
