"""Logos as data URIs, so that the Prefect UI shows them with no network."""

import base64
from pathlib import Path


def logo(name: str) -> str:
    """The square PNG ``logos/<name>.png`` as a data URI."""
    picture = (Path(__file__).with_name("logos") / f"{name}.png").read_bytes()
    return "data:image/png;base64," + base64.b64encode(picture).decode()
