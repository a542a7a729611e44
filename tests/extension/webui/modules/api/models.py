"""The API's models: the processing object's fields, and what is said beside them."""

from dataclasses import fields
from typing import Any

from pydantic import create_model

from modules import processing

BESIDE = ("alwayson_scripts", "script_name", "script_args", "send_images", "save_images", "force_task_id", "infotext")


def _model(of):
    names = [one.name for one in fields(of) if one.init and one.name != "outpath_samples"]
    described: dict[str, Any] = dict.fromkeys([*names, *BESIDE], (Any, None))
    return create_model(of.__name__, **described)


StableDiffusionTxt2ImgProcessingAPI = _model(processing.StableDiffusionProcessingTxt2Img)
StableDiffusionImg2ImgProcessingAPI = _model(processing.StableDiffusionProcessingImg2Img)
