"""The routes of /sdapi/v1 (and those that extensions of a real WebUI add), as recorded."""

from __future__ import annotations

import json
import platform
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psutil
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import Field, create_model

from webui.embedded import extras, images, schemas
from webui.embedded.catalogue import (
    DATA,
    LATENT_UPSCALE_MODES,
    SAMPLERS,
    SCHEDULERS,
    UPSCALERS,
    find_sampler,
)
from webui.embedded.engine import Engine
from webui.embedded.options import OptionsModel
from webui.embedded.processing import VERSION, Processed, Processing, process_images
from webui.embedded.progress import create_task_id
from webui.embedded.scripts import Selected, script_info, scripts_of

_FLAG_TYPES: dict[str, Any] = {
    name: (str | None if default is None else type(default), Field(default=default))
    for name, default in DATA["flags"].items()
}
Flags = create_model("Flags", **_FLAG_TYPES)

# What belongs to the request alone, not to the job.
_REQUEST_ONLY = {
    "script_name", "script_args", "alwayson_scripts", "send_images", "save_images", "infotext",
    "force_task_id", "sampler_index", "include_init_images", "mask", "init_images", "latent_mask",
    "firstpass_image", "comments",
}  # fmt: skip


class Api:
    """Endpoints carry comments in the place of docstrings, which FastAPI would publish: the OpenAPI document
    is compared with the recorded one.

    `port`, `api_auth` and `can_stop` are what the server was started with."""

    def __init__(self, engine: Engine, *, port: int | None, api_auth: str | None, can_stop: bool) -> None:
        self.engine = engine
        self._port = port
        self._users: dict[str, str] = {}
        for pair in (api_auth or "").split(","):
            user, colon, password = pair.partition(":")
            if colon:
                self._users[user] = password
        self._can_stop = can_stop

    # -- access ------------------------------------------------------------------------------------------

    def _authorise(self, credentials: HTTPBasicCredentials = Depends(HTTPBasic())) -> bool:
        expected = self._users.get(credentials.username)
        if expected is not None and secrets.compare_digest(credentials.password.encode(), expected.encode()):
            return True
        raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Basic"})

    # -- generating --------------------------------------------------------------------------------------

    def text2imgapi(self, req: schemas.StableDiffusionProcessingTxt2Img) -> schemas.TextToImageResponse:
        task_id = req.force_task_id or create_task_id("txt2img")
        run = self._prepare("txt2img", req, task_id)
        self.engine.tasks.add_task_to_queue(task_id)
        return schemas.TextToImageResponse(**run(Processing))

    def img2imgapi(self, req: schemas.StableDiffusionProcessingImg2Img) -> schemas.ImageToImageResponse:
        task_id = req.force_task_id or create_task_id("img2img")
        encoded = req.init_images
        if encoded is None:
            raise HTTPException(404, "Init image not found")
        mask = images.decode_base64_to_image(req.mask) if req.mask else None
        run = self._prepare("img2img", req, task_id)
        self.engine.tasks.add_task_to_queue(task_id)

        def job(*args: Any, **parameters: Any) -> Processing:
            # In the lane, and before the job has begun: a bad picture leaves the task pending for ever.
            init = [images.decode_base64_to_image(image) for image in encoded]
            return Processing(*args, **parameters, init_images=init, image_mask=mask)

        if not req.include_init_images:
            req.init_images = req.mask = None  # the answer repeats the request without them
        answer = run(job)
        return schemas.ImageToImageResponse(**answer)

    def _prepare(
        self,
        tab: str,
        req: schemas.StableDiffusionProcessingTxt2Img | schemas.StableDiffusionProcessingImg2Img,
        task_id: str,
    ) -> Callable[[Callable[..., Processing]], dict[str, Any]]:
        """Check the request before it may queue; what comes back runs it, given a way to make the job."""
        engine = self.engine
        selected = engine.scripts.selected(req.script_name, req.script_args, tab)
        asked = req.sampler_name or req.sampler_index
        if not engine.settings.forge and asked not in SAMPLERS:
            raise HTTPException(404, "Sampler not found")
        sampler, scheduler = find_sampler(asked, req.scheduler)
        always_on = engine.scripts.always_on(req.alwayson_scripts, tab)
        parameters = {name: value for name, value in req if name not in _REQUEST_ONLY} | {
            "sampler_name": sampler.name,
            "scheduler": req.scheduler or (None if scheduler.label == "Automatic" else scheduler.label),
            "do_not_save_samples": not req.save_images,
            "do_not_save_grid": not req.save_images,
        }

        def run(make: Callable[..., Processing]) -> dict[str, Any]:
            answer: Future[dict[str, Any]] = Future()
            with engine.lane.job(tab, task_id) as turn:
                job = make(engine, tab, **parameters)
                job.scripts = always_on
                engine.watch(turn)
                processed = self._run_job(job, task_id, selected, answer)
            # Encoding is done out of the lane: the next job runs meanwhile.
            try:
                kind = engine.options.samples_format
                pictures = [images.encode(image, kind) for image in processed.images if req.send_images]
                answer.set_result({"images": pictures, "parameters": dict(req), "info": processed.js()})
            except Exception as error:
                answer.set_exception(error)
            return answer.result()

        return run

    def _run_job(
        self, job: Processing, task_id: str, selected: Selected | None, answer: Future[dict[str, Any]]
    ) -> Processed:
        engine = self.engine
        engine.state.begin(f"scripts_{job.kind}")
        try:
            engine.tasks.start_task(task_id)
            if selected:
                selected.run()
            processed = process_images(job)
            engine.tasks.record_results(task_id, answer)
            engine.tasks.finish_task(task_id)
        except BaseException:
            engine.tasks.fail_task(task_id)
            raise
        finally:
            engine.watch(None)
            engine.state.end()
        return processed

    def extras_single_image_api(self, req: schemas.ExtrasSingleImageRequest) -> schemas.ExtrasSingleImageResponse:
        return extras.extras_single(self.engine, req)

    def extras_batch_images_api(self, req: schemas.ExtrasBatchImagesRequest) -> schemas.ExtrasBatchImagesResponse:
        return extras.extras_batch(self.engine, req)

    def pnginfoapi(self, req: schemas.PNGInfoRequest) -> schemas.PNGInfoResponse:
        return extras.png_info(req.image)

    # -- progress ----------------------------------------------------------------------------------------

    def progressapi(self, skip_current_image: bool = False) -> schemas.ProgressResponse:
        # About whatever runs: there is no task id here.
        state = self.engine.state
        job_count, job_no = state.job_count, state.job_no
        if job_count == 0:
            return schemas.ProgressResponse(progress=0, eta_relative=0, state=state.dict(), textinfo=state.textinfo)
        progress = 0.01  # the real one's way around a division by zero; it stays in every answer
        if job_count > 0:
            progress += job_no / job_count
        if state.sampling_steps > 0:
            progress += 1 / job_count * state.sampling_step / state.sampling_steps
        since = time.time() - (state.time_start or 0)
        eta = since / progress - since
        state.set_current_image()
        image = None
        if state.current_image and not skip_current_image:
            image = images.encode(state.current_image)
        return schemas.ProgressResponse(
            progress=min(progress, 1),
            eta_relative=eta,
            state=state.dict(),
            current_image=image,
            textinfo=state.textinfo,
        )

    def interruptapi(self) -> dict[str, Any]:
        self.engine.state.interrupt()
        return {}

    def skip(self) -> None:
        self.engine.state.skip()

    # -- options -----------------------------------------------------------------------------------------

    def get_config(self) -> Any:
        return self.engine.options.answer()

    def set_config(self, req: dict[str, Any]) -> None:
        engine = self.engine
        if engine.settings.forge:
            engine.settings.set_config(req)
            return
        engine.settings.set_config(req)
        if "sd_model_checkpoint" in req:
            with engine.lane.hold():
                engine.load_model()

    def get_cmd_flags(self) -> Any:
        # A server that was started with --port can't answer this: its port is no text (recorded).
        folder = str(self.engine.folder)
        return {
            **DATA["flags"],
            **DATA["flags_given"],
            "data_dir": folder,
            "gfpgan_dir": f"{folder}/GFPGAN",
            "ui_settings_file": f"{folder}/config.json",
            "styles_file": [f"{folder}/styles.csv", f"{folder}/styles_integrated.csv"],
            "port": self._port,
            # Of the page: seen only where the answer is not held against its model.
            "webui_is_non_local": False,
            "disable_extension_access": False,
        }

    # -- lists -------------------------------------------------------------------------------------------

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
        return [
            {"name": path.stem, "alias": path.stem, "path": str(path), "metadata": {}}
            for path in sorted(self.engine.lora_folder.rglob("*.safetensors"))
        ]

    def get_scripts_list(self) -> dict[str, list[str]]:
        return {tab: [script.name for script in scripts_of(tab)] for tab in ("txt2img", "img2img")}

    def get_script_info(self) -> Any:
        return script_info()

    def get_extensions_list(self) -> list[Any]:
        return []

    def quicksettings_hint(self) -> list[Any]:
        return [{"name": name, "label": label} for name, label in self.engine.options.labels.items()]

    # -- models ------------------------------------------------------------------------------------------

    def refresh_checkpoints(self) -> None:
        with self.engine.lane.hold():
            self.engine.refresh_checkpoints()

    def refresh_vae(self) -> None:
        with self.engine.lane.hold():
            self.engine.settings.modules()

    def refresh_embeddings(self) -> None:
        with self.engine.lane.hold():
            return

    def refresh_loras(self) -> None:
        return

    def unloadapi(self) -> dict[str, Any]:
        return {}

    def reloadapi(self) -> dict[str, Any]:
        # Moves the model to the device; it loads nothing.
        return {}

    def get_memory(self) -> schemas.MemoryResponse:
        used = psutil.Process().memory_info().rss
        share = psutil.Process().memory_percent()
        total = 100 * used / share
        ram = {"free": total - used, "used": used, "total": total}
        return schemas.MemoryResponse(ram=ram, cuda={"error": "unavailable"})

    # -- the server --------------------------------------------------------------------------------------

    def stop_webui(self) -> Response:
        self.engine.state.server_command = "stop"
        return Response("Stopping.")

    def kill_webui(self) -> None:
        self.engine.state.server_command = "kill"

    def restart_webui(self) -> Response:
        # Not implemented: nothing here could start it again.
        return Response(status_code=501)

    def download_sysinfo(self, attachment: Any = False) -> Response:
        # What a bug report asks for; open to all, as in the real one, so nothing of it is secret.
        now = time.strftime("%Y-%m-%d-%H-%M")
        text = json.dumps(
            {
                "Platform": platform.platform(),
                "Python": platform.python_version(),
                "Version": VERSION,
                "Painter": "a stand-in, not Stable Diffusion",
                "Config": self.engine.options.answer(),
            },
            indent=4,
            default=str,
        )
        shown = "attachment" if attachment else "inline"
        disposition = f'{shown}; filename="sysinfo-{now}.json"'
        return PlainTextResponse(text, headers={"Content-Disposition": disposition})

    # -- routes ------------------------------------------------------------------------------------------

    def add_routes(self, app: FastAPI) -> None:
        guard = [Depends(self._authorise)] if self._users else []
        core = APIRouter(prefix="/sdapi/v1", dependencies=guard)

        def get(path: str, endpoint: Callable[..., Any], model: Any = None) -> None:
            core.add_api_route(path, endpoint, methods=["GET"], response_model=model)

        def post(path: str, endpoint: Callable[..., Any], model: Any = None) -> None:
            core.add_api_route(path, endpoint, methods=["POST"], response_model=model)

        post("/txt2img", self.text2imgapi, schemas.TextToImageResponse)
        post("/img2img", self.img2imgapi, schemas.ImageToImageResponse)
        post("/extra-single-image", self.extras_single_image_api, schemas.ExtrasSingleImageResponse)
        post("/extra-batch-images", self.extras_batch_images_api, schemas.ExtrasBatchImagesResponse)
        post("/png-info", self.pnginfoapi, schemas.PNGInfoResponse)
        get("/progress", self.progressapi, schemas.ProgressResponse)
        post("/interrupt", self.interruptapi)
        post("/skip", self.skip)
        get("/options", self.get_config, OptionsModel)
        post("/options", self.set_config)
        get("/cmd-flags", self.get_cmd_flags, Flags)
        get("/samplers", self.get_samplers, list[schemas.SamplerItem])
        get("/schedulers", self.get_schedulers, list[schemas.SchedulerItem])
        get("/upscalers", self.get_upscalers, list[schemas.UpscalerItem])
        get(
            "/latent-upscale-modes",
            self.get_latent_upscale_modes,
            list[schemas.LatentUpscalerModeItem],
        )
        get("/sd-models", self.get_sd_models, list[schemas.SDModelItem])
        modules = "/sd-modules" if self.engine.settings.forge else "/sd-vae"
        get(modules, self.get_sd_vaes_and_text_encoders, list[schemas.SDModuleItem])
        get("/hypernetworks", self.get_hypernetworks, list[schemas.HypernetworkItem])
        get("/face-restorers", self.get_face_restorers, list[schemas.FaceRestorerItem])
        get("/realesrgan-models", self.get_realesrgan_models, list[schemas.RealesrganItem])
        get("/prompt-styles", self.get_prompt_styles, list[schemas.PromptStyleItem])
        get("/embeddings", self.get_embeddings, schemas.EmbeddingsResponse)
        post("/refresh-embeddings", self.refresh_embeddings)
        post("/refresh-checkpoints", self.refresh_checkpoints)
        post("/refresh-vae", self.refresh_vae)
        get("/memory", self.get_memory, schemas.MemoryResponse)
        post("/unload-checkpoint", self.unloadapi)
        post("/reload-checkpoint", self.reloadapi)
        get("/scripts", self.get_scripts_list, schemas.ScriptsList)
        get("/script-info", self.get_script_info, list[schemas.ScriptInfo])
        get("/extensions", self.get_extensions_list, list[schemas.ExtensionItem])
        if self._can_stop:
            post("/server-kill", self.kill_webui)
            post("/server-restart", self.restart_webui)
            post("/server-stop", self.stop_webui)
        app.include_router(core)

        # Routes of built-in extensions: --api-auth does not guard them (recorded).
        app.add_api_route("/sdapi/v1/loras", self.get_loras, methods=["GET"], response_model=None)
        app.add_api_route("/sdapi/v1/refresh-loras", self.refresh_loras, methods=["POST"])
        app.add_api_route("/controlnet/model_list", lambda: {"model_list": ["None"]}, methods=["GET"])

    def add_page_routes(self, app: FastAPI) -> None:
        """What the page of a real WebUI uses besides progress; a server without a page lacks them."""
        app.add_api_route("/internal/ping", lambda: {}, methods=["GET"])
        app.add_api_route(
            "/internal/quicksettings-hint",
            self.quicksettings_hint,
            methods=["GET"],
            response_model=list[schemas.QuicksettingsHint],
        )
        app.add_api_route("/internal/sysinfo", self.download_sysinfo, methods=["GET"])
