"""Generate's click on the tab txt2img: one function makes the processing object, another paints it."""

from contextlib import closing

import modules.scripts
from modules import processing
from modules.shared import opts


def txt2img_create_processing(id_task, request, prompt, negative_prompt, styles, width, height, enable_hr, *args):
    p = processing.StableDiffusionProcessingTxt2Img(
        outpath_samples=opts.outdir,
        prompt=prompt,
        negative_prompt=negative_prompt,
        styles=styles,
        width=width,
        height=height,
        enable_hr=enable_hr,
        hr_additional_modules=["Use same choices"],
    )
    p.scripts = modules.scripts.scripts_txt2img
    p.script_args = args
    p.user = request.username
    return p


def txt2img_function(id_task, request, *args):
    p = txt2img_create_processing(id_task, request, *args)
    with closing(p):
        processed = modules.scripts.scripts_txt2img.run(p, *p.script_args)
        return processed or processing.process_images(p)


def txt2img(id_task, request, *args):
    raise AssertionError("it waits for the job that is under way")
