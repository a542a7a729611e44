"""The routes that list what a request can name."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI

from webui.embedded import list_schemas
from webui.embedded.catalogue import DATA, LATENT_UPSCALE_MODES, SAMPLERS, SCHEDULERS, UPSCALERS
from webui.embedded.engine import Engine
from webui.embedded.scripts import script_info, scripts_of


class Lists:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def get_samplers(self) -> list[Any]:
        return [vars(sampler) for sampler in SAMPLERS.values()]

    def get_schedulers(self) -> list[Any]:
        return [vars(scheduler) for scheduler in SCHEDULERS]

    def get_upscalers(self) -> list[Any]:
        return [vars(upscaler) for upscaler in UPSCALERS.values()]

    def get_latent_upscale_modes(self) -> list[Any]:
        return [{"name": mode} for mode in LATENT_UPSCALE_MODES]

    def get_sd_models(self) -> list[Any]:
        return [checkpoint.listed() for checkpoint in self.engine.checkpoints]

    def get_sd_vaes_and_text_encoders(self) -> list[Any]:
        modules = self.engine.settings.modules()
        return [{"model_name": name, "filename": str(path)} for name, path in modules.items()]

    def get_hypernetworks(self) -> list[Any]:
        return []

    def get_face_restorers(self) -> list[Any]:
        return [{"name": name, "cmd_dir": None} for name in DATA["face_restorers"]]

    def get_realesrgan_models(self) -> Any:
        return DATA["realesrgan_models"]

    def get_prompt_styles(self) -> list[Any]:
        return [vars(style) for style in self.engine.styles.all()]

    def get_embeddings(self) -> dict[str, Any]:
        return {"loaded": {}, "skipped": {}}

    def get_loras(self) -> list[Any]:
        return self.engine.loras.listed()

    def get_scripts_list(self) -> dict[str, list[str]]:
        return {tab: [script.name for script in scripts_of(tab)] for tab in ("txt2img", "img2img")}

    def get_script_info(self) -> Any:
        return script_info()

    def get_extensions_list(self) -> list[Any]:
        return []

    def model_list(self) -> dict[str, list[str]]:
        return {"model_list": ["None"]}

    def module_list(self) -> dict[str, list[str]]:
        return {"module_list": ["None"]}

    def add_routes(self, core: APIRouter) -> None:
        modules = "/sd-modules" if self.engine.settings.forge else "/sd-vae"
        for path, endpoint, item in (
            ("/samplers", self.get_samplers, list_schemas.SamplerItem),
            ("/schedulers", self.get_schedulers, list_schemas.SchedulerItem),
            ("/upscalers", self.get_upscalers, list_schemas.UpscalerItem),
            ("/latent-upscale-modes", self.get_latent_upscale_modes, list_schemas.LatentUpscalerModeItem),
            ("/sd-models", self.get_sd_models, list_schemas.SDModelItem),
            (modules, self.get_sd_vaes_and_text_encoders, list_schemas.SDModuleItem),
            ("/hypernetworks", self.get_hypernetworks, list_schemas.HypernetworkItem),
            ("/face-restorers", self.get_face_restorers, list_schemas.FaceRestorerItem),
            ("/realesrgan-models", self.get_realesrgan_models, list_schemas.RealesrganItem),
            ("/prompt-styles", self.get_prompt_styles, list_schemas.PromptStyleItem),
            ("/script-info", self.get_script_info, list_schemas.ScriptInfo),
            ("/extensions", self.get_extensions_list, list_schemas.ExtensionItem),
        ):
            core.add_api_route(path, endpoint, methods=["GET"], response_model=list[item])  # type: ignore[valid-type]  # a value
        core.get("/embeddings", response_model=list_schemas.EmbeddingsResponse)(self.get_embeddings)
        core.get("/scripts", response_model=list_schemas.ScriptsList)(self.get_scripts_list)

    def add_extension_routes(self, app: FastAPI) -> None:
        """Routes of built-in extensions: --api-auth does not guard them (recorded)."""
        app.get("/sdapi/v1/loras", response_model=None)(self.get_loras)
        app.get("/controlnet/model_list", response_model=None)(self.model_list)
        app.get("/controlnet/module_list", response_model=None)(self.module_list)
