"""One generation job: what Stable Diffusion WebUI does between a request and its pictures.

The order of the checks is the recorded one: each mistake is found at the place where a real WebUI finds it,
so that state, progress and error look the same afterwards.
"""

from __future__ import annotations

import importlib
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image, ImageOps

from webui import infotext
from webui.embedded import images
from webui.embedded.catalogue import (
    AUTOMATIC,
    LATENT_UPSCALE_MODES,
    SAMPLERS,
    UPSCALERS,
    Sampler,
    find_scheduler,
    used_scheduler,
)
from webui.embedded.checkpoints import Checkpoint, Model
from webui.embedded.scripts import AlwaysOnScript

if TYPE_CHECKING:
    from webui.embedded.engine import Engine
    from webui.embedded.painter import Brief, Step

VERSION = "f2.0.1v1.10.1-previous-669-gdfdcbab6"
LATENT_SCALE = 8  # pixels to a cell of the latent picture, each way
# A real WebUI knows no bound and dies of memory; this one fails as a real one does whose memory is capped.
MOST_PIXELS = 4 * 1024 * 1024
MOST_PICTURES = 1_000
MOST_STEPS = 10_000
# How much smaller than the picture a preview is, by the option show_progress_type (recorded, on a machine
# where "Full" gives way to "Approx NN").
_PREVIEW_SHRINK = {"Approx cheap": 8, "TAESD": 1}
_EXTRA_NETWORK = re.compile(r"<\w+:[^>]*>")


class Processing:
    """A job's parameters, named as the request names them, and what becomes of them on the way."""

    prompt: Any
    negative_prompt: Any
    styles: list[str] | None
    seed: Any
    subseed: Any
    subseed_strength: Any
    seed_resize_from_h: Any
    seed_resize_from_w: Any
    sampler_name: str
    scheduler: str | None
    batch_size: Any
    n_iter: Any
    steps: Any
    cfg_scale: Any
    width: Any
    height: Any
    restore_faces: bool | None
    tiling: bool | None
    denoising_strength: Any
    override_settings: dict[str, Any]
    override_settings_restore_afterwards: bool | None
    refiner_checkpoint: str | None
    refiner_switch_at: float | None
    do_not_save_samples: bool | None
    do_not_save_grid: bool | None
    # txt2img
    enable_hr: bool | None = False
    hr_scale: Any = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: Any = 0
    hr_resize_x: Any = 0
    hr_resize_y: Any = 0
    hr_checkpoint_name: str | None = None
    hr_additional_modules: list[Any] | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str | None = ""
    hr_negative_prompt: str | None = ""
    hr_cfg: Any = 1.0
    # img2img
    init_images: Sequence[Any] = ()
    image_mask: Image.Image | None = None
    resize_mode: Any = 0
    mask_blur_x: Any = 4
    mask_blur_y: Any = 4
    mask_blur: Any = None
    mask_round: bool | None = True
    inpainting_fill: Any = 0
    inpaint_full_res: Any = True
    inpaint_full_res_padding: Any = 0
    inpainting_mask_invert: Any = 0

    def __init__(self, engine: Engine, kind: Literal["txt2img", "img2img"], **parameters: Any) -> None:
        self.engine = engine
        self.kind = kind
        for name, value in parameters.items():
            setattr(self, name, value)
        given = parameters.get("override_settings") or {}
        self.override_settings = {name: value for name, value in given.items() if not _is_restricted(name)}
        if self.mask_blur is not None:
            self.mask_blur_x = self.mask_blur_y = self.mask_blur
        self.scripts: list[tuple[AlwaysOnScript, list[Any]]] = []
        self.extra_generation_params: dict[str, Any] = {}
        self.all_prompts: list[str] = []
        self.all_negative_prompts: list[str] = []
        self.all_seeds: list[int] = []
        self.all_subseeds: list[int] = []
        self.clip_skip = 1
        self.sd_model_name = ""
        self.sd_model_hash: str | None = None
        self.hr_upscale_to: tuple[int, int] = (0, 0)
        self.hr_checkpoint: Checkpoint | None = None
        self.canvas: _Canvas | None = None

    def copy_for(self, kind: Literal["txt2img", "img2img"], **changes: Any) -> Processing:
        """A job of its own with the same parameters save for the changes, without scripts: what a script
        runs inside this one."""
        names = set(Processing.__annotations__) & set(self.__dict__)
        parameters = {name: getattr(self, name) for name in names}
        return Processing(self.engine, kind, **{**parameters, **changes})


def _is_restricted(option: str) -> bool:
    """Options that no request may override: where files go."""
    return option.startswith("outdir_") or option in (
        "samples_filename_pattern",
        "directories_filename_pattern",
        "temp_dir",
        "clean_temp_dir_at_start",
    )


@dataclass
class Processed:
    """What a job gives back."""

    images: list[Image.Image]
    infotexts: list[str]
    index_of_first_image: int
    info: dict[str, Any]

    def js(self) -> str:
        return json.dumps(self.info)


# -- the job -------------------------------------------------------------------------------------------


def process_images(p: Processing) -> Processed:
    """Run the job in this thread. The caller holds the lane and has begun the state.

    Raises what a real WebUI raises, for the API to answer with 500.
    """
    for script, args in p.scripts:
        script.before(p, args)
    restore = bool(p.override_settings_restore_afterwards)
    with p.engine.settings.overridden(p.override_settings, restore=restore):
        model = p.engine.load_model()
        return _process(p, model)


def _process(p: Processing, model: Model) -> Processed:
    engine, state, options = p.engine, p.engine.state, p.engine.options
    assert p.prompt is not None
    p.clip_skip = int(options.CLIP_stop_at_last_layers)
    # Names and hash are noted once: what switches models in the middle of the job goes unsaid (recorded).
    p.sd_model_name = model.sd_checkpoint_info.name_for_extra
    p.sd_model_hash = model.sd_checkpoint_info.shorthash
    seed, subseed = _fixed_seed(p.seed), _fixed_seed(p.subseed)
    p.restore_faces = options.face_restoration if p.restore_faces is None else p.restore_faces
    p.tiling = options.tiling if p.tiling is None else p.tiling
    _set_up_prompts(p)
    p.all_seeds = [seed + (x if p.subseed_strength == 0 else 0) for x in range(len(p.all_prompts))]
    p.all_subseeds = [subseed + x for x in range(len(p.all_prompts))]
    if options.forge_additional_modules and engine.settings.forge:
        for number, module in enumerate(options.forge_additional_modules, 1):
            p.extra_generation_params[f"Module {number}"] = str(module).rsplit(".", 1)[0]
    if p.refiner_checkpoint not in (None, "", "None", "none"):
        _find_checkpoint(engine, p.refiner_checkpoint)
    if p.kind == "img2img":
        p.canvas = _Canvas(p)
    elif p.enable_hr:
        _init_hires(p)
    if state.job_count == -1:
        state.job_count = p.n_iter

    output: list[Image.Image] = []
    infotexts: list[str] = []
    for n in range(p.n_iter):
        if state.skipped:
            state.skipped = False
        if state.interrupted or state.stopping_generation:
            break
        model = engine.load_model()  # another one by now, if the options were changed meanwhile
        batch = range(n * p.batch_size, (n + 1) * p.batch_size)
        if p.n_iter > 1:
            state.job = f"Batch {n + 1} out of {p.n_iter}"
        painted = _sample(p, model, batch)
        state.nextjob()
        for index, image in zip(batch, painted, strict=True):
            image = p.canvas.overlaid(image) if p.canvas else image
            for script, args in p.scripts:
                image = script.postprocess_image(p, image, index, args)
            text = create_infotext(p, index)
            image.info = {infotext.CHUNK: text} if options.enable_pnginfo else {}
            infotexts.append(text)
            output.append(image)
            if options.samples_save and not p.do_not_save_samples:
                engine.save(image, p.kind, p.all_seeds[index])

    index_of_first_image = 0
    wants_grid = (options.return_grid or options.grid_save) and not p.do_not_save_grid
    if wants_grid and (len(output) > 1 or not options.grid_only_if_multiple):
        sheet = images.grid(output, int(options.n_rows))
        text = create_infotext(p, 0)
        sheet.info = {infotext.CHUNK: text} if options.enable_pnginfo else {}
        if options.return_grid:
            output.insert(0, sheet)
            infotexts.insert(0, text)
            index_of_first_image = 1
        if options.grid_save:
            engine.save(sheet, f"{p.kind}-grids", p.all_seeds[0])
    return Processed(output, infotexts, index_of_first_image, _info(p, infotexts, index_of_first_image))


def _fixed_seed(seed: Any) -> int:
    return random.randrange(4294967294) if seed in (None, "", -1) else int(seed)


def _set_up_prompts(p: Processing) -> None:
    count = p.batch_size * p.n_iter
    if count > MOST_PICTURES:
        raise _no_memory(count * 4 * (p.height // LATENT_SCALE) * (p.width // LATENT_SCALE) * 4)
    prompt, negative = p.engine.styles.apply(p.styles or [], p.prompt, p.negative_prompt or "")
    p.all_prompts = count * [prompt]
    p.all_negative_prompts = count * [negative]
    _ = p.all_prompts[0]  # no picture at all: IndexError, as recorded


def _find_checkpoint(engine: Engine, name: str | None) -> Checkpoint:
    found = engine.checkpoints.closest(name)
    if found is None:
        raise Exception(f"Could not find checkpoint with name {name}")
    return found


def _no_memory(size: int) -> RuntimeError:
    return RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
        f"to allocate {size} bytes. Error code 12 (Cannot allocate memory)"
    )


# -- hires fix -----------------------------------------------------------------------------------------


def _init_hires(p: Processing) -> None:
    said = p.extra_generation_params
    said["Denoising strength"] = p.denoising_strength
    if p.hr_checkpoint_name and p.hr_checkpoint_name != "Use same checkpoint":
        p.hr_checkpoint = _find_checkpoint(p.engine, p.hr_checkpoint_name)
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


def _hires_pass(p: Processing, model: Model, batch: range, first: list[Image.Image]) -> list[Image.Image]:
    """The second pass: the pictures enlarged and painted again."""
    state = p.engine.state
    if p.engine.settings.forge and "Use same choices" not in p.hr_additional_modules:  # type: ignore[operator]
        raise NotImplementedError("the embedded WebUI keeps its modules between the passes of hires fix")
    if state.interrupted:
        return first
    width, height = _cells(p.hr_upscale_to[0]), _cells(p.hr_upscale_to[1])
    steps = p.hr_second_pass_steps or p.steps
    sampler = SAMPLERS.get(p.hr_sampler_name or "", SAMPLERS[p.sampler_name])
    state.nextjob()
    with _second_checkpoint(p) as second:
        return _paint(
            p,
            sampler,
            [
                replace(
                    _brief(p, second or model, index, sampler, p.hr_scheduler or p.scheduler),
                    prompt=_plain(p.hr_prompt or p.all_prompts[index]),
                    negative_prompt=_plain(p.hr_negative_prompt or p.all_negative_prompts[index]),
                    width=width,
                    height=height,
                    cfg_scale=p.cfg_scale if not p.hr_cfg or p.hr_cfg == 1.0 else p.hr_cfg,
                    # Asked for are steps really taken; the painter, like img2img, takes a share of them.
                    steps=_steps_for(steps, p.denoising_strength),
                    init_image=image.resize((width, height), Image.Resampling.LANCZOS),
                    denoising_strength=p.denoising_strength,
                )
                for index, image in zip(batch, first, strict=True)
            ],
        )


class _second_checkpoint:  # reads as a statement
    """The second pass's own checkpoint, if it has one, in memory for its time."""

    def __init__(self, p: Processing) -> None:
        self._p = p

    def __enter__(self) -> Model | None:
        if self._p.hr_checkpoint is None:
            return None
        self._p.engine.loader.select(self._p.hr_checkpoint)
        return self._p.engine.load_model()

    def __exit__(self, *_: object) -> None:
        if self._p.hr_checkpoint is not None:
            self._p.engine.settings.want_selected()


def _steps_for(taken: int, strength: float) -> int:
    """The number of steps of which img2img at this strength takes `taken`."""
    share = min(strength, 0.999)
    if share <= 0:
        return taken
    steps = max(1, int((taken - 1) / share))
    while int(share * steps) + 1 < taken:
        steps += 1
    return steps


# -- sampling ------------------------------------------------------------------------------------------


def _sample(p: Processing, model: Model, batch: range) -> list[Image.Image]:
    sampler = SAMPLERS[p.sampler_name]
    _check_sampling(p, sampler)
    used = used_scheduler(sampler, p.scheduler)
    if used is not AUTOMATIC:
        p.extra_generation_params["Schedule type"] = used.label  # takes the other's place in the infotext
    briefs = [_brief(p, model, index, sampler, p.scheduler) for index in batch]
    if p.canvas:
        init, mask = p.canvas.init, p.canvas.mask
        strength = p.denoising_strength
        briefs = [
            replace(brief, init_image=init[number % len(init)], mask=mask, denoising_strength=strength)
            for number, brief in enumerate(briefs)
        ]
    painted = _paint(p, sampler, briefs)
    return _hires_pass(p, model, batch, painted) if p.kind == "txt2img" and p.enable_hr else painted


def _check_sampling(p: Processing, sampler: Sampler) -> None:
    """What a real WebUI stumbles over before its first step, in its order."""
    _ = 1 // p.steps  # prompts are scheduled over the steps
    rows, columns = p.height // LATENT_SCALE, p.width // LATENT_SCALE
    if p.width * p.height > MOST_PIXELS:
        raise _no_memory(p.batch_size * 4 * rows * columns * 4)
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
        raise _no_memory(p.steps * rows * columns * 4)


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


def _cells(pixels: int) -> int:
    """Pixels of a whole number of latent cells."""
    return pixels // LATENT_SCALE * LATENT_SCALE


def _plain(prompt: str) -> str:
    """The prompt without LoRAs and the like, which the stand-in painter knows nothing of."""
    return _EXTRA_NETWORK.sub("", prompt)


def _brief(p: Processing, model: Model, index: int, sampler: Sampler, scheduler: str | None) -> Brief:
    painter = _painter()
    options = p.engine.options
    vae = options.forge_additional_modules if p.engine.settings.forge else options.sd_vae
    brief: Brief = painter.Brief(
        prompt=_plain(p.all_prompts[index]),
        negative_prompt=_plain(p.all_negative_prompts[index]),
        seed=p.all_seeds[index] + (options.eta_noise_seed_delta if sampler.options.get("uses_ensd") else 0),
        subseed=p.all_subseeds[index],
        subseed_strength=p.subseed_strength or 0.0,
        steps=p.steps,
        sampler_name=sampler.name,
        scheduler=used_scheduler(sampler, scheduler).name,
        cfg_scale=p.cfg_scale,
        width=_cells(p.width),
        height=_cells(p.height),
        checkpoint=model.sd_checkpoint_info.name_for_extra,
        clip_skip=p.clip_skip,
        vae="" if not vae or vae in ("Automatic", "None") else str(vae if isinstance(vae, str) else vae[0]),
    )
    return brief


def _painter() -> Any:
    """Imported when first needed: numpy is most of a start's time."""
    return importlib.import_module("webui.embedded.painter")


def _paint(p: Processing, sampler: Sampler, briefs: Sequence[Brief]) -> list[Image.Image]:
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


# -- img2img -------------------------------------------------------------------------------------------


class _Canvas:
    """An img2img job's pictures before and after: resized, cropped to the mask, laid back."""

    def __init__(self, p: Processing) -> None:
        self.init: list[Image.Image] = []
        self.mask: Image.Image | None = None
        self._overlays: list[Image.Image] = []
        self._overlay_mask: Image.Image | None = None
        self._paste_to: tuple[int, int, int, int] | None = None
        self._count = 0
        said = p.extra_generation_params
        said["Denoising strength"] = p.denoising_strength
        size = max(_cells(p.width), 1), max(_cells(p.height), 1)  # too small a one fails later, as recorded
        if p.width * p.height > MOST_PIXELS:
            raise _no_memory(4 * p.width * p.height)
        if p.image_mask is not None:
            self._read_mask(p, said, size)
        for image in p.init_images:
            image = images.flatten(image, p.engine.options.img2img_background_color)
            if self._paste_to is None:
                image = images.resize_image(p.resize_mode, image, *size)
            if self.mask is not None:
                self._overlays.append(image)
            if self._paste_to is not None:
                x, y, width, height = self._paste_to
                image = image.crop((x, y, x + width, y + height)).resize(size, Image.Resampling.LANCZOS)
            self.init.append(image)
        if not self.init:
            raise IndexError("Dimension out of range (expected to be in range of [-1, 0], but got 1)")

    def _read_mask(self, p: Processing, said: dict[str, Any], size: tuple[int, int]) -> None:
        assert p.image_mask is not None
        mask = images.binary_mask(p.image_mask, rounded=bool(p.mask_round))
        if p.inpainting_mask_invert:
            mask = ImageOps.invert(mask)
            said["Mask mode"] = "Inpaint not masked"
        if p.mask_blur_x > 0 or p.mask_blur_y > 0:
            mask = images.blurred_mask(mask, p.mask_blur_x, p.mask_blur_y)
            said["Mask blur"] = p.mask_blur_x
        if p.inpaint_full_res:
            if p.init_images and mask.size != p.init_images[0].size:
                mask = mask.resize(p.init_images[0].size, Image.Resampling.LANCZOS)
            box = images.crop_region(mask, p.inpaint_full_res_padding, *size)
            if box is None:
                return  # an empty mask: the whole picture is painted, the real one says so in its log
            self._paste_to = box[0], box[1], box[2] - box[0], box[3] - box[1]
            self._overlay_mask = mask
            self.mask = mask.crop(box).resize(size, Image.Resampling.LANCZOS)
            said["Inpaint area"] = "Only masked"
            said["Masked area padding"] = p.inpaint_full_res_padding
        else:
            self.mask = images.resize_image(p.resize_mode, mask, *size)
            self._overlay_mask = self.mask
        if p.inpainting_fill != 1:
            said["Masked content"] = ("fill", "original", "latent noise", "latent nothing")[p.inpainting_fill]

    def overlaid(self, image: Image.Image) -> Image.Image:
        """The painted picture laid over what the mask protects."""
        if self._overlay_mask is None:
            return image
        whole = self._overlays[self._count % len(self._overlays)].copy()
        self._count += 1
        if self._paste_to is not None:
            x, y, width, height = self._paste_to
            painted = whole.copy()
            painted.paste(image.resize((width, height), Image.Resampling.LANCZOS), (x, y))
        else:
            painted = image
        return Image.composite(painted, whole, self._overlay_mask)


# -- infotext and info ---------------------------------------------------------------------------------


def create_infotext(p: Processing, index: int) -> str:
    options = p.engine.options
    sampler = SAMPLERS[p.sampler_name]
    resized = p.seed_resize_from_w > 0 and p.seed_resize_from_h > 0
    uses_ensd = bool(options.eta_noise_seed_delta) and sampler.options.get("uses_ensd")
    settings = {
        "Steps": p.steps,
        "Sampler": p.sampler_name,
        "Schedule type": find_scheduler(p.scheduler).label,
        "CFG scale": p.cfg_scale,
        "Seed": p.all_seeds[index],
        "Face restoration": options.face_restoration_model if p.restore_faces else None,
        "Size": f"{p.width}x{p.height}",
        "Model hash": p.sd_model_hash if options.add_model_hash_to_info else None,
        "Model": p.sd_model_name if options.add_model_name_to_info else None,
        "Variation seed": p.all_subseeds[index] if p.subseed_strength else None,
        "Variation seed strength": p.subseed_strength or None,
        "Seed resize from": f"{p.seed_resize_from_w}x{p.seed_resize_from_h}" if resized else None,
        "Denoising strength": p.extra_generation_params.get("Denoising strength"),
        "Clip skip": p.clip_skip if p.clip_skip > 1 else None,
        "ENSD": options.eta_noise_seed_delta if uses_ensd else None,
        "RNG": options.randn_source if options.randn_source != "GPU" else None,
        "Tiling": "True" if p.tiling else None,
        **p.extra_generation_params,
        "Version": VERSION if options.add_version_to_infotext else None,
    }
    return infotext.build(p.all_prompts[index], p.all_negative_prompts[index], settings)


def _info(p: Processing, infotexts: list[str], index_of_first_image: int) -> dict[str, Any]:
    return {
        "prompt": p.all_prompts[0],
        "all_prompts": p.all_prompts,
        "negative_prompt": p.all_negative_prompts[0],
        "all_negative_prompts": p.all_negative_prompts,
        "seed": p.all_seeds[0],
        "all_seeds": p.all_seeds,
        "subseed": p.all_subseeds[0],
        "all_subseeds": p.all_subseeds,
        "subseed_strength": p.subseed_strength,
        "width": p.width,
        "height": p.height,
        "sampler_name": p.sampler_name,
        "cfg_scale": p.cfg_scale,
        "steps": p.steps,
        "batch_size": p.batch_size,
        "restore_faces": p.restore_faces,
        "face_restoration_model": p.engine.options.face_restoration_model if p.restore_faces else None,
        "sd_model_name": p.sd_model_name,
        "sd_model_hash": p.sd_model_hash,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": p.seed_resize_from_w,
        "seed_resize_from_h": p.seed_resize_from_h,
        "denoising_strength": p.denoising_strength,
        "extra_generation_params": p.extra_generation_params,
        "index_of_first_image": index_of_first_image,
        "infotexts": infotexts,
        "styles": p.styles or [],
        "job_timestamp": p.engine.state.job_timestamp,
        "clip_skip": p.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": VERSION,
    }
