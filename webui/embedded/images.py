"""Pictures on their way in and out: base64, resizing, masks, grids."""

from __future__ import annotations

import base64
import io
import ipaddress
import math
import socket
from urllib.parse import urlparse

from fastapi import HTTPException
from PIL import Image, ImageFilter

from webui import infotext


def decode_base64_to_image(encoding: str) -> Image.Image:
    """A picture of plain base64 or a data URI. Raises HTTPException 500 for anything else.

    A real WebUI also fetches URLs; this one fetches nothing and says what the real one would say of a URL
    that it refuses or that is no picture.
    """
    if encoding.startswith(("http://", "https://")):
        if not _is_global(encoding):
            raise HTTPException(500, "Request to local resource not allowed")
        raise HTTPException(500, "Invalid image url")
    if encoding.startswith("data:image/"):
        encoding = encoding.split(";")[1].split(",")[1]
    try:
        image = Image.open(io.BytesIO(base64.b64decode(encoding)))
        image.load()
    except Exception as error:
        raise HTTPException(500, "Invalid encoded image") from error
    return image


def _is_global(url: str) -> bool:
    try:
        addresses = socket.gethostbyname_ex(urlparse(url).hostname or "")[2]
        return all(ipaddress.ip_address(address).is_global for address in addresses)
    except (OSError, ValueError):
        return False


def encode(image: Image.Image, kind: str = "png") -> str:
    """Base64 of the picture; a PNG keeps its infotext. Raises HTTPException 500 for another kind than png,
    jpg, jpeg and webp."""
    kind = kind.lower()
    if kind == "png":
        data = infotext.to_png(image)
    elif kind in ("jpg", "jpeg", "webp"):
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, format="WEBP" if kind == "webp" else "JPEG", quality=80)
        data = buffer.getvalue()
    else:
        raise HTTPException(500, "Invalid image format")
    return base64.b64encode(data).decode("ascii")


def flatten(image: Image.Image, background: str) -> Image.Image:
    """Without transparency."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        behind = Image.new("RGBA", image.size, background)
        image = Image.alpha_composite(behind, image)
    return image.convert("RGB")


def resize_image(mode: int, image: Image.Image, width: int, height: int) -> Image.Image:
    """0 and 3: stretch; 1: crop to the new shape; 2: fit inside, edges filled with the picture's border."""
    if mode == 1 or mode == 2:
        pick = max if mode == 1 else min
        scale = pick(width / image.width, height / image.height)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        resized = image.resize(size, Image.Resampling.LANCZOS)
        out = (
            resized.resize((width, height), Image.Resampling.BOX)
            if mode == 2
            else Image.new(image.mode, (width, height))
        )
        out.paste(resized, ((width - size[0]) // 2, (height - size[1]) // 2))
        return out
    return image.resize((width, height), Image.Resampling.LANCZOS)


def binary_mask(image: Image.Image, *, rounded: bool) -> Image.Image:
    """The mask of a request: its alpha if it uses one, else its lightness; rounded to black and white."""
    if image.mode == "RGBA" and image.getextrema()[-1] != (255, 255):
        mask = image.getchannel("A")
    else:
        mask = image.convert("L")
    return mask.point(lambda value: 255 if value > 128 else 0) if rounded else mask


def blurred_mask(mask: Image.Image, x: int, y: int) -> Image.Image:
    return mask.filter(ImageFilter.GaussianBlur((max(0, x), max(0, y)))) if x > 0 or y > 0 else mask


def crop_region(mask: Image.Image, padding: int, width: int, height: int) -> tuple[int, int, int, int] | None:
    """The box around the white of a mask, padded, grown to the shape width:height; None if all is black."""
    box = mask.getbbox()
    if box is None:
        return None
    x1, y1 = max(box[0] - padding, 0), max(box[1] - padding, 0)
    x2, y2 = min(box[2] + padding, mask.width), min(box[3] + padding, mask.height)
    aspect = width / height
    if (x2 - x1) / (y2 - y1) > aspect:
        y1, y2 = _grown(y1, y2, (x2 - x1) / aspect, mask.height)
    else:
        x1, x2 = _grown(x1, x2, (y2 - y1) * aspect, mask.width)
    return x1, y1, x2, y2


def _grown(low: int, high: int, length: float, limit: int) -> tuple[int, int]:
    """The span widened about its middle to `length`, kept inside 0..limit."""
    more = int(length) - (high - low)
    low, high = low - more // 2, high + more - more // 2
    if high > limit:
        low, high = low - (high - limit), limit
    if low < 0:
        low, high = 0, min(high - low, limit)
    return low, high


def grid(images: list[Image.Image], rows: int) -> Image.Image:
    """All pictures in one, `rows` rows (0 or less: as square as it gets)."""
    rows = rows if rows > 0 else max(1, math.isqrt(len(images)))
    columns = math.ceil(len(images) / rows)
    width, height = images[0].size
    sheet = Image.new("RGB", (columns * width, rows * height), "black")
    for number, image in enumerate(images):
        sheet.paste(image, (number % columns * width, number // columns * height))
    return sheet
