"""docs/true-pictures.md from the lies that the tests tell, and results.json, which the run over honest pictures
writes: `python -m tests.pictures.report`."""

from __future__ import annotations

import json
from typing import Any

from store.files import write_whole
from tests.pictures.lies import LIES
from tests.rest import PROJECT

RESULTS = PROJECT / "tests" / "pictures" / "results.json"
PAGE = PROJECT / "docs" / "true-pictures.md"

HEAD = """# Nothing wrong is passed off as right

A WebUI answers 200 to much that is not what was asked for; most of this was seen on a real Forge. Each row is a test
(`tests/pictures`): the embedded WebUI does it, and in the place of a picture comes the error in the last column.

| what the WebUI does | what tells it | what Darkroom does | error |
|---|---|---|---|
"""

TAIL = """
What rules some out from the start: every request names its checkpoint, VAE and CLIP skip, and asks for one iteration
(`n_iter` 1: a model that is switched between two of them paints under the first one's name).

What is not told: a hires fix whose upscaler could not be loaded (what it left is painted over), and the effect of
ADetailer or of an upscaler on a WebUI that answers in JPEG or WebP, where every picture differs from its input.

## Honest pictures

A picture counts as one of a single colour when in each of red, green and blue the lightest and the darkest of up to
256 × 256 pixels, evenly spread, are at most 2 levels of 255 apart, unless it was made of such a picture. An upscaler
counts as one that only resized when every pixel is what Pillow's Lanczos makes of the input; "Lanczos", "Nearest" and
"None" may. `make matrix` has the embedded WebUI paint dark scenes, plain backgrounds and tiny sizes among others,
enlarges them with each of its upscalers, and counts false alarms:

"""


def page(results: dict[str, Any]) -> str:
    """The whole of docs/true-pictures.md."""
    rows = [f"| {lie.what} | {lie.tells} | {lie.then} | {lie.error.__name__} |\n" for lie in LIES]
    seen = ["| what | seen |\n", "|---|---|\n", *(f"| {name} | {value} |\n" for name, value in results.items())]
    return HEAD + "".join(rows) + TAIL + "".join(seen)


def read() -> dict[str, Any]:
    return dict(json.loads(RESULTS.read_text())) if RESULTS.exists() else {}


def write(results: dict[str, Any]) -> None:
    write_whole(RESULTS, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    write_whole(PAGE, page(results).encode())


if __name__ == "__main__":
    write_whole(PAGE, page(read()).encode())
