"""The pictures of an img2img job: resized, cropped to the mask, and laid back after painting."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageOps

from webui.embedded import images
from webui.embedded.limits import MOST_PIXELS, no_memory, whole_cells
from webui.embedded.processing import Processing


class Canvas:
    """An img2img job's pictures before and after: resized, cropped to the mask, laid back."""

    def __init__(self, p: Processing) -> None:
        self.init: list[Image.Image] = []
        self.mask: Image.Image | None = None
        self._overlays: list[Image.Image] = []
        self._overlay_mask: Image.Image | None = None
        self._paste_to: tuple[int, int, int, int] | None = None
        self._count = 0
        said = p.extra_generation_params
        said["Denoising strength"] = p.denoising_strength
        size = max(whole_cells(p.width), 1), max(whole_cells(p.height), 1)  # too small a one fails later, as recorded
        if p.width * p.height > MOST_PIXELS:
            raise no_memory(4 * p.width * p.height)
        if p.image_mask is not None:
            self._read_mask(p, said, size)
        for image in p.init_images:
            image = images.flatten(image, p.engine.options.img2img_background_color)
            if self._paste_to is None:
                image = images.resize_image(p.resize_mode, image, *size)
            if self.mask is not None:
                self._overlays.append(image)
            if self._paste_to is not None:
                x, y, width, height = self._paste_to
                image = image.crop((x, y, x + width, y + height)).resize(size, Image.Resampling.LANCZOS)
            self.init.append(image)
        if not self.init:
            raise IndexError("Dimension out of range (expected to be in range of [-1, 0], but got 1)")

    def _read_mask(self, p: Processing, said: dict[str, Any], size: tuple[int, int]) -> None:
        assert p.image_mask is not None
        mask = images.binary_mask(p.image_mask, rounded=bool(p.mask_round))
        if p.inpainting_mask_invert:
            mask = ImageOps.invert(mask)
            said["Mask mode"] = "Inpaint not masked"
        if p.mask_blur_x > 0 or p.mask_blur_y > 0:
            mask = images.blurred_mask(mask, p.mask_blur_x, p.mask_blur_y)
            said["Mask blur"] = p.mask_blur_x
        if p.inpaint_full_res:
            if p.init_images and mask.size != p.init_images[0].size:
                mask = mask.resize(p.init_images[0].size, Image.Resampling.LANCZOS)
            box = images.crop_region(mask, p.inpaint_full_res_padding, *size)
            if box is None:
                return  # an empty mask: the whole picture is painted, the real one says so in its log
            self._paste_to = box[0], box[1], box[2] - box[0], box[3] - box[1]
            self._overlay_mask = mask
            self.mask = mask.crop(box).resize(size, Image.Resampling.LANCZOS)
            said["Inpaint area"] = "Only masked"
            said["Masked area padding"] = p.inpaint_full_res_padding
        else:
            self.mask = images.resize_image(p.resize_mode, mask, *size)
            self._overlay_mask = self.mask
        if p.inpainting_fill != 1:
            said["Masked content"] = ("fill", "original", "latent noise", "latent nothing")[p.inpainting_fill]

    def overlaid(self, image: Image.Image) -> Image.Image:
        """The painted picture laid over what the mask protects."""
        if self._overlay_mask is None:
            return image
        whole = self._overlays[self._count % len(self._overlays)].copy()
        self._count += 1
        if self._paste_to is not None:
            x, y, width, height = self._paste_to
            painted = whole.copy()
            painted.paste(image.resize((width, height), Image.Resampling.LANCZOS), (x, y))
        else:
            painted = image
        return Image.composite(painted, whole, self._overlay_mask)
