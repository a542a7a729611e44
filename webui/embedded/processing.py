"""A generation job: its parameters, its result, and the scripts that take part in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from PIL import Image

from webui.embedded.checkpoints import Checkpoint
from webui.embedded.engine import Engine


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


class AlwaysOnScript(Protocol):
    """What takes part in every job. `args` are the defaults with the request's laid over them, in the order
    of script-info; without a word about the script in the request they are the defaults alone."""

    def default_args(self) -> list[Any]: ...

    def before(self, p: Processing, args: Sequence[Any]) -> None:
        """Before the options are overridden and the model is loaded. May change the job: its steps, its
        size, `extra_generation_params`."""

    def postprocess_image(self, p: Processing, image: Image.Image, index: int, args: Sequence[Any]) -> Image.Image:
        """For each picture after it was decoded (and counted by `nextjob`). May run nested jobs with
        `process_images`, which counts them in the state once `state.job_count` was raised for them."""
