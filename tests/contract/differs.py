"""What differs from a real Forge on purpose: the one list, each entry with its reason.

A test fails when a recording differs in a field that no entry names, and another when an entry no longer
matches any difference. `python tests/contract/differs.py` prints the table into docs/embedded-webui.md.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path

from comparing import Difference

DOCUMENT = Path(__file__).parents[2] / "docs" / "embedded-webui.md"
BEGIN = "<!-- differs: generated from tests/contract/differs.py -->\n"
END = "<!-- /differs -->\n"


@dataclass(frozen=True)
class Differs:
    """`recordings` and `field` are patterns (`*` for any text)."""

    recordings: str
    field: str
    reason: str

    def covers(self, difference: Difference) -> bool:
        return fnmatch.fnmatchcase(difference.recording, self.recordings) and fnmatch.fnmatchcase(
            difference.field, self.field
        )


_OPENAPI = "endpoints/GET_openapi"
_PAGE = "a route of the page (Gradio) or of its extensions; the embedded WebUI has no page"

ON_PURPOSE: tuple[Differs, ...] = (
    # -- the OpenAPI document: what is not served, and how the rest is described ---------------------------
    *(
        Differs(_OPENAPI, f"body.paths./{path}", _PAGE)
        for path in (
            "",
            "user*",
            "login*",
            "logout",
            "token*",
            "app_id*",
            "dev/reload",
            "info*",
            "config*",
            "static/*",
            "custom_component/*",
            "assets/*",
            "favicon.ico",
            "proxy=*",
            "file*",
            "stream/*",
            "reset*",
            "heartbeat/*",
            "api/*",
            "run/*",
            "call/*",
            "queue/*",
            "cancel",
            "component_server*",
            "upload*",
            "startup-events",
            "theme.css",
            "robots.txt",
            "monitoring*",
            "internal/profile-startup",
            "internal/sysinfo-download",
            "sd_extra_networks/*",
            "controlnet/control_types",
            "controlnet/detect",
        )
    ),
    Differs(_OPENAPI, "body.paths./sdapi/v1/create/*", "nothing to train"),
    *(
        Differs(_OPENAPI, f"body.components.schemas.{schema}", "belongs to a route that is not served")
        for schema in (
            "Body_detect_*",
            "Body_login_*",
            "CancelBody",
            "CreateResponse",
            "EstimationMessage",
            "PredictBody",
            "ResetBody",
            "SimplePredictBody",
        )
    ),
    Differs(_OPENAPI, "body.paths./internal/restore-progress", "ours: fetches a result that was lost"),
    Differs(_OPENAPI, "body.components.schemas.RestoreRequest", "ours: of /internal/restore-progress"),
    Differs(
        _OPENAPI,
        "body.components.schemas.*__ProgressResponse",
        "a schema of which there are two is named after its module, and ours are other modules",
    ),
    Differs(_OPENAPI, "body.paths.*.schema.$ref", "names the module's schema, see above"),
    Differs(_OPENAPI, "body.components.schemas.*.properties.*.title", "our own words for people"),
    Differs(_OPENAPI, "body.components.schemas.*.properties.*.description", "our own words for people"),
    Differs(
        _OPENAPI,
        "*.additionalProperties",
        "a newer pydantic says of every free object that it is free; it means the same",
    ),
    Differs(
        _OPENAPI,
        "body.components.schemas.ValidationError.properties.*",
        "a newer FastAPI describes more of its errors; what is answered is as recorded",
    ),
    Differs("auth/matrix", "4?.status", _PAGE),
    # -- what the recorded machine was ---------------------------------------------------------------------
    *(
        Differs(
            "endpoints/GET_cmd-flags_server_without_--port", f"body.{flag}", "where the recorded server's files lay"
        )
        for flag in ("data_dir", "models_dir", "embeddings_dir", "ui_*_file", "styles_file.*", "gradio_allowed_path.*")
    ),
    Differs(
        "endpoints/GET_cmd-flags_server_without_--port",
        "body.ad_no_huggingface",
        "a flag of ADetailer, which that server had not registered",
    ),
    # -- ADetailer --------------------------------------------------------------------------------------
    Differs(
        "adetailer/skip_img2img_no_leading_bools_unit_skip_flag",
        "timeline",
        "the recorded checkpoint's random weights repaint the face into noise, in which none is found; "
        "the painter keeps it a face, so ADetailer goes on to paint it",
    ),
)


def as_markdown() -> str:
    """The table of docs/embedded-webui.md: a row for each reason."""
    fields: dict[tuple[str, str], list[str]] = {}
    for entry in ON_PURPOSE:
        fields.setdefault((entry.recordings, entry.reason), []).append(f"`{entry.field}`")
    rows = ["| recording | field | why |", "|---|---|---|"]
    rows += [f"| `{name}` | {', '.join(some)} | {reason} |" for (name, reason), some in fields.items()]
    return "\n".join(rows) + "\n"


def main() -> None:
    text = DOCUMENT.read_text() if DOCUMENT.exists() else "# The embedded WebUI\n"
    if BEGIN not in text:
        text += (
            f"\n## What differs on purpose\n\nHeld against the recordings of a real Forge by a test.\n\n{BEGIN}{END}"
        )
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(head + BEGIN + as_markdown() + END + tail)


if __name__ == "__main__":
    main()
