"""Generate's click on the tab img2img: one function makes the processing object and paints it."""

from contextlib import closing

import modules.scripts
from modules.processing import StableDiffusionProcessingImg2Img, process_images
from modules.shared import opts

BATCH = 5  # number of the tab whose pictures are in a folder


def process_batch(p, folder, args):
    raise AssertionError("it would be painted")


def img2img(id_task, request, mode, prompt, init_img, init_mask, scale_tab, width, height, scale_by, folder, *args):
    if scale_tab == 1 and mode != BATCH:
        assert init_img, "no image is selected"
        width, height = (int(side * scale_by) for side in init_img.size)
    p = StableDiffusionProcessingImg2Img(
        outpath_samples=opts.outdir,
        prompt=prompt,
        init_images=[init_img],
        mask=init_mask if mode == 4 else None,
        width=width,
        height=height,
        denoising_strength=0.5,
    )
    p.scripts = modules.scripts.scripts_img2img
    p.script_args = args
    with closing(p):
        if mode == BATCH:
            return process_batch(p, folder, args)
        return modules.scripts.scripts_img2img.run(p, *args) or process_images(p)
