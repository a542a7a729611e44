"""One pass of the sampler: what it refuses, the painter's brief, the steps with their previews."""

from __future__ import annotations

import importlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from webui.embedded import images
from webui.embedded.canvas import Canvas
from webui.embedded.catalogue import AUTOMATIC, SAMPLERS, Sampler, used_scheduler
from webui.embedded.checkpoints import Model
from webui.embedded.limits import LATENT_SCALE, MOST_PIXELS, MOST_STEPS, no_memory, whole_cells
from webui.embedded.loras import without_tags
from webui.embedded.processing import Processing

if TYPE_CHECKING:
    from webui.embedded.painter import Brief, Step

# How much smaller than the picture a preview is, by the option show_progress_type (recorded, on a machine
# where "Full" gives way to "Approx NN").
_PREVIEW_SHRINK = {"Approx cheap": 8, "TAESD": 1}


def sample(p: Processing, model: Model, batch: range, canvas: Canvas | None) -> list[Image.Image]:
    sampler = SAMPLERS[p.sampler_name]
    _check_sampling(p, sampler)
    used = used_scheduler(sampler, p.scheduler)
    if used is not AUTOMATIC:
        p.extra_generation_params["Schedule type"] = used.label  # takes the other's place in the infotext
    briefs = [brief_of(p, model, index, sampler, p.scheduler) for index in batch]
    if canvas:
        init, mask = canvas.init, canvas.mask
        strength = p.denoising_strength
        briefs = [
            replace(brief, init_image=init[number % len(init)], mask=mask, denoising_strength=strength)
            for number, brief in enumerate(briefs)
        ]
    return paint(p, sampler, briefs)


def _check_sampling(p: Processing, sampler: Sampler) -> None:
    """What a real WebUI stumbles over before its first step, in its order."""
    _ = 1 // p.steps  # prompts are scheduled over the steps
    rows, columns = p.height // LATENT_SCALE, p.width // LATENT_SCALE
    if p.width * p.height > MOST_PIXELS:
        raise no_memory(p.batch_size * 4 * rows * columns * 4)
    for length in (rows, columns):
        if length < 0:
            shape = [4, rows, columns]
            raise RuntimeError(f"Trying to create tensor with negative dimension {length}: {shape}")
    delta = p.engine.options.eta_noise_seed_delta
    if delta:
        _ = [seed + delta for seed in p.all_seeds]
    if p.kind == "img2img":
        _ = int(min(p.denoising_strength, 0.999) * p.steps)
    if p.steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if p.steps > MOST_STEPS:
        raise no_memory(p.steps * rows * columns * 4)


def _check_first_step(p: Processing, sampler: Sampler) -> None:
    """What a real WebUI stumbles over once the sampler has begun: the state tells its steps by then."""
    if sampler.name == "UniPC":
        assert p.steps >= p.engine.options.uni_pc_order, "UniPC order must be < sampling steps"
    rows, columns = p.height // LATENT_SCALE, p.width // LATENT_SCALE
    if rows == 0 or columns == 0:
        raise RuntimeError(
            f"Calculated padded input size per channel: ({rows + 2} x {columns + 2}). Kernel size: (3 x 3). "
            "Kernel size can't be greater than actual input size"
        )


def brief_of(p: Processing, model: Model, index: int, sampler: Sampler, scheduler: str | None) -> Brief:
    painter = _painter()
    options = p.engine.options
    vae = options.forge_additional_modules if p.engine.settings.forge else options.sd_vae
    brief: Brief = painter.Brief(
        prompt=p.engine.loras.applied(p.all_prompts[index]),
        negative_prompt=without_tags(p.all_negative_prompts[index]),
        seed=p.all_seeds[index] + (options.eta_noise_seed_delta if sampler.options.get("uses_ensd") else 0),
        subseed=p.all_subseeds[index],
        subseed_strength=p.subseed_strength or 0.0,
        steps=p.steps,
        sampler_name=sampler.name,
        scheduler=used_scheduler(sampler, scheduler).name,
        cfg_scale=p.cfg_scale,
        width=whole_cells(p.width),
        height=whole_cells(p.height),
        checkpoint=model.sd_checkpoint_info.name_for_extra,
        clip_skip=p.clip_skip,
        vae="" if not vae or vae in ("Automatic", "None") else str(vae if isinstance(vae, str) else vae[0]),
    )
    return brief


def _painter() -> Any:
    """Imported when first needed: numpy is most of a start's time."""
    return importlib.import_module("webui.embedded.painter")


def paint(p: Processing, sampler: Sampler, briefs: Sequence[Brief]) -> list[Image.Image]:
    """All pictures of a batch, step by step together. Interrupt and skip are looked for before each step,
    so the step in work is always finished; what is painted so far is the result."""
    state, driver = p.engine.state, p.engine.steps
    painter = _painter()
    total = painter.sampling_steps(briefs[0])
    shrink = _PREVIEW_SHRINK.get(p.engine.options.show_progress_type, 4)
    state.begin_sampling(total)
    _check_first_step(p, sampler)
    driver.begin_pass()
    runs: list[Iterator[Step]] = [painter.paint(brief) for brief in briefs]
    steps: list[Step] = []
    for number in range(1, total + 1):
        if state.must_stop_sampling:
            break
        if p.engine.faults:
            p.engine.faults.on_step(number, p.engine.tasks.current or "", lambda: state.must_stop_sampling)
        driver.before_step(lambda: state.must_stop_sampling)
        started = time.perf_counter()
        steps = [next(run) for run in runs]
        driver.after_step(started)
        state.sampling_step = number - 1
        state.current_latent = _previews(steps, shrink)
        driver.step_done(number)
    if not steps:
        return [_noise(brief) for brief in briefs]
    return [step.image() for step in steps]


def _previews(steps: list[Step], shrink: int) -> Callable[[], Image.Image]:
    def preview() -> Image.Image:
        pictures = [step.preview().reduce(shrink) for step in steps]
        return pictures[0] if len(pictures) == 1 else images.grid(pictures, -1)

    return preview


def _noise(brief: Brief) -> Image.Image:
    """What an interrupt before the first step leaves."""
    size = brief.width, brief.height
    data = random.Random(brief.seed).randbytes(3 * size[0] * size[1])
    return Image.frombytes("RGB", size, data)
