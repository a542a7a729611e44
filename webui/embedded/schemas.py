"""Requests and answers of /sdapi/v1, field by field as the recorded OpenAPI document has them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Processing(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    prompt: str | None = ""
    negative_prompt: str | None = ""
    styles: list[str] | None = None
    seed: int | None = -1
    subseed: int | None = -1
    subseed_strength: float | None = 0
    seed_resize_from_h: int | None = -1
    seed_resize_from_w: int | None = -1
    sampler_name: str | None = None
    scheduler: str | None = None
    batch_size: int | None = 1
    n_iter: int | None = 1
    steps: int | None = 50
    cfg_scale: float | None = 7.0
    distilled_cfg_scale: float | None = 3.5
    width: int | None = 512
    height: int | None = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    do_not_save_samples: bool | None = False
    do_not_save_grid: bool | None = False
    eta: float | None = None
    denoising_strength: float | None = None
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmax: float | None = None
    s_tmin: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool | None = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool | None = False
    firstpass_image: str | None = None
    comments: dict[str, Any] | None = None


class StableDiffusionProcessingTxt2Img(_Processing):
    enable_hr: bool | None = False
    firstphase_width: int | None = 0
    firstphase_height: int | None = 0
    hr_scale: float | None = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: int | None = 0
    hr_resize_x: int | None = 0
    hr_resize_y: int | None = 0
    hr_checkpoint_name: str | None = None
    hr_additional_modules: list[Any] | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str | None = ""
    hr_negative_prompt: str | None = ""
    hr_cfg: float | None = 1.0
    hr_distilled_cfg: float | None = 3.5
    force_task_id: str | None = None
    sampler_index: str = "Euler"
    script_name: str | None = None
    script_args: list[Any] = []
    send_images: bool = True
    save_images: bool = False
    alwayson_scripts: dict[str, Any] = {}
    infotext: str | None = None


class StableDiffusionProcessingImg2Img(_Processing):
    denoising_strength: float = 0.75  # here alone it may not be null
    init_images: list[Any] | None = None
    resize_mode: int | None = 0
    image_cfg_scale: float | None = None
    mask: str | None = None
    mask_blur_x: int | None = 4
    mask_blur_y: int | None = 4
    mask_blur: int | None = None
    mask_round: bool | None = True
    inpainting_fill: int | None = 0
    inpaint_full_res: bool | None = True
    inpaint_full_res_padding: int | None = 0
    inpainting_mask_invert: int | None = 0
    initial_noise_multiplier: float | None = None
    latent_mask: str | None = None
    force_task_id: str | None = None
    hr_distilled_cfg: float | None = 3.5
    sampler_index: str = "Euler"
    include_init_images: bool = False
    script_name: str | None = None
    script_args: list[Any] = []
    send_images: bool = True
    save_images: bool = False
    alwayson_scripts: dict[str, Any] = {}
    infotext: str | None = None


class TextToImageResponse(BaseModel):
    images: list[str] | None = Field(None, title="Image", description="The generated image in base64 format.")
    parameters: dict[str, Any]
    info: str


class ImageToImageResponse(TextToImageResponse):
    pass


class ProgressResponse(BaseModel):
    progress: float = Field(title="Progress", description="The progress with a range of 0 to 1")
    eta_relative: float = Field(title="ETA in secs")
    state: dict[str, Any] = Field(title="State", description="The current state snapshot")
    current_image: str | None = Field(
        None,
        title="Current image",
        description="The current image in base64 format. opts.show_progress_every_n_steps is required for "
        "this to work.",
    )
    textinfo: str | None = Field(None, title="Info text", description="Info text used by WebUI.")


class _Extras(BaseModel):
    resize_mode: Literal[0, 1] = Field(
        0, description="0: by upscaling_resize; 1: up to upscaling_resize_w x upscaling_resize_h"
    )
    show_extras_results: bool = Field(True, title="Show results")
    gfpgan_visibility: float = Field(0, title="GFPGAN Visibility", ge=0, le=1)
    codeformer_visibility: float = Field(0, title="CodeFormer Visibility", ge=0, le=1)
    codeformer_weight: float = Field(0, title="CodeFormer Weight", ge=0, le=1)
    upscaling_resize: float = Field(2, title="Upscaling Factor", gt=0)
    upscaling_resize_w: int = Field(512, title="Target Width", ge=1)
    upscaling_resize_h: int = Field(512, title="Target Height", ge=1)
    upscaling_crop: bool = Field(True, title="Crop to fit")
    upscaler_1: str = Field("None", title="Main upscaler")
    upscaler_2: str = Field("None", title="Secondary upscaler")
    extras_upscaler_2_visibility: float = Field(0, title="Secondary upscaler visibility", ge=0, le=1)
    upscale_first: bool = Field(False, title="Upscale first")


class ExtrasSingleImageRequest(_Extras):
    image: str = Field(
        "", title="Image", description="Image to work on, must be a Base64 string containing the image's data."
    )


class FileData(BaseModel):
    data: str = Field(title="File data", description="Base64 representation of the file")
    name: str = Field(title="File name")


class ExtrasBatchImagesRequest(_Extras):
    imageList: list[FileData] = Field(title="Images")


class ExtrasSingleImageResponse(BaseModel):
    html_info: str = Field(title="HTML info", description="A series of HTML tags containing the process info.")
    image: str | None = Field(None, title="Image", description="The generated image in base64 format.")


class ExtrasBatchImagesResponse(BaseModel):
    html_info: str = Field(title="HTML info")
    images: list[str] = Field(title="Images")


class PNGInfoRequest(BaseModel):
    image: str = Field(title="Image", description="The base64 encoded PNG image")


class InterrogateRequest(BaseModel):
    image: str = Field(
        "", title="Image", description="Image to work on, must be a Base64 string containing the image's data."
    )
    model: str = Field("clip", title="Model", description="The interrogate model used.")


class PNGInfoResponse(BaseModel):
    info: str = Field(title="Image info", description="A string with the parameters used to generate the image")
    items: dict[str, Any] = Field(
        title="Items", description="A dictionary containing all the other fields the image had"
    )
    parameters: dict[str, Any] = Field(
        title="Parameters", description="A dictionary with parsed generation info fields"
    )
