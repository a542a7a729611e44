"""A picture on disk, read only against the hash under which it was written; and how encoded pictures are decoded."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image
from pydantic import BaseModel, ConfigDict

LARGEST_SIDE = 8192  # pixels: what hires fix, a resize or an upscaler may come to
LARGEST_FILE = LARGEST_SIDE**2 * 4  # bytes: such a picture without compression, with alpha


def decoded(content: bytes) -> Image.Image:
    """A picture, decoded to its end; its header is checked first, for a small file can claim any number of pixels.

    Raises:
        ValueError: no whole picture, or larger than 256 MiB or 8192 pixels a side.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if max(image.size) > LARGEST_SIDE or len(content) > LARGEST_FILE:
                raise ValueError(f"{image.width} × {image.height} pixels are too many, at most {LARGEST_SIDE} a side")
            image.load()
            return image
    except Exception as error:  # Pillow's decoders raise all kinds
        raise ValueError(f"no picture that can be read ({error}): {len(content)} bytes") from error


class Picture(BaseModel):
    """A finished picture: a small reference to a file that is already written whole.

    ``seconds``: how long the WebUI took for the request; ``note``: what a person should know ("nothing found"). The
    request and the WebUI's answer lie beside the picture, as JSON.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    sha256: str
    seed: int
    index: int
    stage: str
    width: int
    height: int
    checkpoint: str = ""
    seconds: float = 0.0
    note: str = ""

    def read(self) -> bytes:
        """The file's bytes, when they are the ones that were written.

        Raises:
            OSError: somebody removed or changed the file.
        """
        try:
            content = Path(self.path).read_bytes()
        except FileNotFoundError:
            content = b""
        if hashlib.sha256(content).hexdigest() != self.sha256:
            what = "is damaged" if content else "is gone"
            todo = "queue the job again with its file" if self.stage == "init" else "Retry paints it again"
            raise OSError(f"{self.path} ({self.stage}, seed {self.seed}) {what}: {todo}")
        return content

    @property
    def sidecar(self) -> Path:
        return Path(self.path).with_suffix(".json")
