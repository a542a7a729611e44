"""One generation job: what Stable Diffusion WebUI does between a request and its pictures.

The order of the checks is the recorded one: each mistake is found where a real WebUI finds it, so that state,
progress and error look the same afterwards.
"""

from __future__ import annotations

import random
from typing import Any

from PIL import Image

from webui import infotext
from webui.embedded import images
from webui.embedded.canvas import Canvas
from webui.embedded.checkpoints import Model
from webui.embedded.generation_info import create_infotext, info_of
from webui.embedded.hires import hires_pass, prepare_hires
from webui.embedded.limits import LATENT_SCALE, MOST_PICTURES, no_memory
from webui.embedded.processing import Processed, Processing
from webui.embedded.sampling import sample


def process_images(p: Processing) -> Processed:
    """Run the job in this thread. The caller holds the job queue's lock and has begun the state.

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
    # Name and hash are written down once. The loop below loads again, so that a POST /options in between paints
    # another model under this name (recorded between pictures, seen before the first).
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
    if loras := engine.loras.hashes(p.all_prompts[0]):
        p.extra_generation_params["Lora hashes"] = ", ".join(f"{name}: {sha}" for name, sha in loras.items())
    if p.refiner_checkpoint not in (None, "", "None", "none"):
        engine.checkpoints.require(p.refiner_checkpoint)
    canvas = None
    if p.kind == "img2img":
        canvas = Canvas(p)
    elif p.enable_hr:
        prepare_hires(p)
    if state.job_count == -1:
        state.job_count = p.n_iter

    output: list[Image.Image] = []
    infotexts: list[str] = []
    for n in range(p.n_iter):
        if state.skipped:
            state.skipped = False
        if state.interrupted or state.stopping_generation:
            break
        model = engine.load_model()  # the late reload, see above
        batch = range(n * p.batch_size, (n + 1) * p.batch_size)
        if p.n_iter > 1:
            state.job = f"Batch {n + 1} out of {p.n_iter}"
        painted = sample(p, model, batch, canvas)
        if p.kind == "txt2img" and p.enable_hr:
            painted = hires_pass(p, model, batch, painted)
        state.nextjob()
        for index, image in zip(batch, painted, strict=True):
            image = canvas.overlaid(image) if canvas else image
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
    return Processed(output, infotexts, index_of_first_image, info_of(p, infotexts, index_of_first_image))


def _fixed_seed(seed: Any) -> int:
    return random.randrange(4294967294) if seed in (None, "", -1) else int(seed)


def _set_up_prompts(p: Processing) -> None:
    count = p.batch_size * p.n_iter
    if count > MOST_PICTURES:
        raise no_memory(count * 4 * (p.height // LATENT_SCALE) * (p.width // LATENT_SCALE) * 4)
    prompt, negative = p.engine.styles.apply(p.styles or [], p.prompt, p.negative_prompt or "")
    p.all_prompts = count * [prompt]
    p.all_negative_prompts = count * [negative]
    _ = p.all_prompts[0]  # no picture at all: IndexError, as recorded
