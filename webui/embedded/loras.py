"""LoRA files: listed, named by tags in a prompt (<lora:name:weight>), and without effect where they can't be read."""

from __future__ import annotations

import hashlib
import logging
import re
import struct
from functools import cache
from pathlib import Path
from typing import Any

from webui.embedded.checkpoints import read_header

log = logging.getLogger(__name__)

_TAG = re.compile(r"<lora:([^:>]+)(?::([^>]*))?>")
_ANY_TAG = re.compile(r"<\w+:[^>]*>")


class Loras:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def listed(self) -> list[dict[str, Any]]:
        return [
            {"name": path.stem, "alias": path.stem, "path": str(path), "metadata": {}}
            for path in sorted(self.folder.rglob("*.safetensors"))
        ]

    def hashes(self, prompt: str) -> dict[str, str]:
        """The first 12 digits of the sha256 of each LoRA that the prompt names and whose file can be read.

        A name that nothing has and a broken file are logged and left out, as by the real one.
        """
        files = {path.stem: path for path in self.folder.rglob("*.safetensors")}
        found = {}
        for name, weight in _TAG.findall(prompt):
            try:
                read_header(files[name])
            except (KeyError, OSError, ValueError, struct.error) as error:
                log.info("LoRA %s is left out: %s: %s", name, type(error).__name__, error)
            else:
                if weight.strip() not in ("0", "0.0"):
                    found[name] = _sha256(files[name], files[name].stat().st_mtime)[:12]
        return found

    def applied(self, prompt: str) -> str:
        """The prompt as the painter takes it: without tags, and with the names of the LoRAs that act, for a word
        changes the picture. The weight counts only as zero or not."""
        return " ".join([without_tags(prompt), *self.hashes(prompt)])


@cache
def _sha256(path: Path, changed: float) -> str:
    """Of a file as it was at a time of change (Unix seconds), which keeps a replaced file apart."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def without_tags(prompt: str) -> str:
    return _ANY_TAG.sub("", prompt)
