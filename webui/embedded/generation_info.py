"""What a job says of its pictures: the infotext of each, and the answer's `info`."""

from __future__ import annotations

from typing import Any

from webui import infotext
from webui.embedded.catalogue import SAMPLERS, find_scheduler
from webui.embedded.processing import Processing

VERSION = "f2.0.1v1.10.1-previous-669-gdfdcbab6"


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


def info_of(p: Processing, infotexts: list[str], index_of_first_image: int) -> dict[str, Any]:
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
