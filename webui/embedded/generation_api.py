"""The routes of /sdapi/v1 that take or give pictures."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from fastapi import APIRouter, HTTPException

from webui.embedded import extras, images, schemas
from webui.embedded.catalogue import SAMPLERS, find_sampler
from webui.embedded.engine import Engine
from webui.embedded.generating import process_images
from webui.embedded.processing import Processed, Processing
from webui.embedded.progress import create_task_id
from webui.embedded.scripts import Scripts, Selected

# What belongs to the request alone, not to the job.
_REQUEST_ONLY = {
    "script_name", "script_args", "alwayson_scripts", "send_images", "save_images", "infotext",
    "force_task_id", "sampler_index", "include_init_images", "mask", "init_images", "latent_mask",
    "firstpass_image", "comments",
}  # fmt: skip


class GenerationApi:
    def __init__(self, engine: Engine, scripts: Scripts) -> None:
        self.engine = engine
        self._scripts = scripts

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
            # On the GPU, and before the job has begun: a bad picture leaves the task pending for ever.
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
        selected = self._scripts.selected(req.script_name, req.script_args, tab)
        asked = req.sampler_name or req.sampler_index
        if not engine.settings.forge and asked not in SAMPLERS:
            raise HTTPException(404, "Sampler not found")
        sampler, scheduler = find_sampler(asked, req.scheduler)
        always_on = self._scripts.always_on(req.alwayson_scripts, tab)
        parameters = {name: value for name, value in req if name not in _REQUEST_ONLY} | {
            "sampler_name": sampler.name,
            "scheduler": req.scheduler or (None if scheduler.label == "Automatic" else scheduler.label),
            "do_not_save_samples": not req.save_images,
            "do_not_save_grid": not req.save_images,
        }

        def run(make: Callable[..., Processing]) -> dict[str, Any]:
            answer: Future[dict[str, Any]] = Future()
            with engine.job_queue.job(tab, task_id) as record:
                job = make(engine, tab, **parameters)
                job.scripts = always_on
                engine.record_loads_in(record)
                processed = self._run_job(job, task_id, selected, answer)
            # Encoded off the GPU: the next job runs meanwhile.
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
            engine.record_loads_in(None)
            engine.state.end()
        return processed

    def extras_single_image_api(self, req: schemas.ExtrasSingleImageRequest) -> schemas.ExtrasSingleImageResponse:
        return extras.extras_single(self.engine, req)

    def extras_batch_images_api(self, req: schemas.ExtrasBatchImagesRequest) -> schemas.ExtrasBatchImagesResponse:
        return extras.extras_batch(self.engine, req)

    def pnginfoapi(self, req: schemas.PNGInfoRequest) -> schemas.PNGInfoResponse:
        return extras.png_info(req.image)

    def interrogateapi(self, interrogatereq: schemas.InterrogateRequest) -> dict[str, str]:
        return extras.interrogate(self.engine, interrogatereq)

    def add_routes(self, core: APIRouter) -> None:
        core.post("/txt2img", response_model=schemas.TextToImageResponse)(self.text2imgapi)
        core.post("/img2img", response_model=schemas.ImageToImageResponse)(self.img2imgapi)
        core.post("/extra-single-image", response_model=schemas.ExtrasSingleImageResponse)(self.extras_single_image_api)
        core.post("/extra-batch-images", response_model=schemas.ExtrasBatchImagesResponse)(self.extras_batch_images_api)
        core.post("/png-info", response_model=schemas.PNGInfoResponse)(self.pnginfoapi)
        core.post("/interrogate", response_model=None)(self.interrogateapi)
