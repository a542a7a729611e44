"""A picture on disk, and the one way to read it: checked against the hash under which it was written."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Picture(BaseModel):
    """A finished picture: a small reference to a file that is already written whole.

    ``seconds`` is how long the WebUI took for the request that made it; ``note`` is what a person should know
    ("no face found"). The full request and the WebUI's answer lie beside the picture, as JSON.
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
