"""What the forms of all stages share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

LARGEST_SEED = 2**32 - 1  # the WebUI draws its random seeds from 0 to 2³²−1
# A WebUI has no upper bound: asked for 262144 × 262144 it took all memory of its machine and was killed.
LARGEST_SIDE = 2048
LARGEST_RESULT = 8192  # pixels per side after hires fix, img2img resize or an upscaler

Side = Annotated[int, Field(ge=64, le=LARGEST_SIDE, multiple_of=8)]


class Form(BaseModel):
    """A stage's settings: what a person fills in, named as the WebUI's API names it.

    Unknown fields are errors here, because the WebUI would swallow a typing error without a word.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), use_attribute_docstrings=False)


def field(default: Any, title: str, help: str, position: int, **bounds: Any) -> Any:
    """A form field; ``position`` orders it in the Prefect UI."""
    extra = {"position": position, **bounds.pop("json_schema_extra", {})}
    return Field(default, title=title, description=help, json_schema_extra=extra, **bounds)


def extra_field(example: str) -> Any:
    """The explicit way for API fields that a form does not name."""
    return field(
        {},
        "More API fields",
        f"Further fields of the WebUI's API, passed through as they are: {example}.",
        90,
    )
