"""What is painted: its fields, the runner of scripts and their values."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Processing:
    outpath_samples: str | None = None
    prompt: str = ""
    negative_prompt: str = ""
    styles: list[str] | None = None
    seed: int = -1
    subseed: int = -1
    sampler_name: str | None = None
    scheduler: str | None = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    do_not_save_samples: bool = False
    denoising_strength: float | None = None
    override_settings: dict[str, Any] | None = None
    sampler_index: int | None = None
    comments: dict[str, Any] | None = None
    scripts_value: Any = field(default=None, init=False)
    script_args_value: Any = field(default=None, init=False)

    def __post_init__(self):
        self.comments, self.override_settings = {}, self.override_settings or {}

    @property
    def scripts(self):
        return self.scripts_value

    @scripts.setter
    def scripts(self, runner):
        self.scripts_value = runner

    @property
    def script_args(self):
        return self.script_args_value

    @script_args.setter
    def script_args(self, values):
        self.script_args_value = values
        self.scripts.setup_scrips(self)

    def close(self):
        raise AssertionError("what is to be queued is still needed")


@dataclass
class StableDiffusionProcessingTxt2Img(Processing):
    enable_hr: bool = False
    hr_additional_modules: list[str] | None = None


@dataclass
class StableDiffusionProcessingImg2Img(Processing):
    init_images: list[Any] | None = None
    mask: Any = None
    mask_blur: int = 4
    image_mask: Any = field(default=None, init=False)

    def __post_init__(self):
        super().__post_init__()
        self.image_mask, self.mask = self.mask, None


def process_images(p):
    raise AssertionError("it would be painted")
