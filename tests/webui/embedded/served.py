"""The table of docs/embedded-webui.md: what the embedded WebUI serves, from its routes.

python tests/webui/embedded/served.py writes it into the document.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests

from webui.embedded.server import EmbeddedWebUI

DOCUMENT = Path(__file__).parents[3] / "docs" / "embedded-webui.md"
BEGIN = "<!-- served: generated from tests/webui/embedded/served.py -->\n"
END = "<!-- /served -->"


def _operations(**options: Any) -> dict[tuple[str, str], dict[str, Any]]:
    with EmbeddedWebUI(**options) as server:
        paths = requests.get(f"{server.url}/openapi.json", timeout=60).json()["paths"]
    return {(path, method.upper()): told for path, methods in paths.items() for method, told in methods.items()}


def as_markdown() -> str:
    served = _operations(api_auth="user:password", can_stop=True)
    unasked, bare = _operations(), _operations(nowebui=True)
    rows = ["| route | takes | `--api-auth` guards it | only |", "|---|---|---|---|"]
    for (path, method), told in sorted(served.items()):
        body = told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        takes = body.get("$ref", "").rsplit("/", 1)[-1] or ("an object" if body else "")
        only = ""
        if (path, method) not in unasked:
            only = "with `--api-server-stop`"
        elif (path, method) not in bare:
            only = "without `--nowebui`"
        guarded = "yes" if "security" in told else "no"
        rows.append(f"| `{method} {path}` | {f'`{takes}`' if body.get('$ref') else takes} | {guarded} | {only} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + BEGIN + as_markdown() + END + after)
