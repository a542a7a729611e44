"""What the forms of all stages share."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LARGEST_SEED = 2**32 - 1  # the WebUI draws its random seeds from 0 to 2³²−1
# A WebUI has no upper bound: asked for 262144 × 262144 it took all memory of its machine and was killed.
Side = Annotated[int, Field(ge=64, le=2048, multiple_of=8)]

# Fields of the WebUI's API that ``extra`` may not hold, each with the reason. The form's own fields come on top.
SET_BY_DARKROOM = {
    "n_iter": "each picture is a request of its own, safe as soon as it is painted; say `images` in the job",
    "batch_size": "say `batch_size` in the job",
    "send_images": "the answer is the only way to get the pictures",
    "force_task_id": "progress and cancel find the request at the WebUI by an id of their own",
    "override_settings_restore_afterwards": "the WebUI would load the checkpoint anew for each picture",
    "init_images": "say `init_images` in the job",
    "image": "say `init_images` in the job",
    "upscaler_1": "say `upscaler`",
    "upscaling_resize": "say `factor`",
}
OVERRIDES_SET_BY_DARKROOM = {"sd_model_checkpoint": "say `checkpoint`", "CLIP_stop_at_last_layers": "say `clip_skip`"}


class Form(BaseModel):
    """Settings as a person fills them in, named as the WebUI's API names them.

    Unknown fields are errors here, because the WebUI would ignore a typing error without a word.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), use_attribute_docstrings=False)

    def with_seed(self, seed: int) -> Self:
        """The same with another seed, for a form that has one."""
        return self.model_copy(update={"seed": seed})


class StageForm(Form):
    """The form of a stage; ``extra`` holds fields of the WebUI's API that the form does not name.

    Nothing in ``extra`` is overwritten: what Darkroom sets itself is refused, and everything else is sent as given,
    the VAE of ``override_settings`` too (a stage whose checkpoint needs another one than the job's).
    """

    extra: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check_extra(self) -> Self:
        own = {name: f"it is a field of the form: say `{name}`" for name in type(self).model_fields if name != "extra"}
        problems = _refused("extra", self.extra, SET_BY_DARKROOM | own)
        overrides = self.extra.get("override_settings", {})
        if isinstance(overrides, dict):
            problems += _refused("extra.override_settings", overrides, OVERRIDES_SET_BY_DARKROOM)
        for name in ("override_settings", "alwayson_scripts"):
            if not isinstance(self.extra.get(name, {}), dict):
                problems.append(f"extra.{name} has to be a mapping of names to values")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def with_extra(self, payload: dict[str, Any]) -> dict[str, Any]:
        """``payload`` with the fields of ``extra``; the overridden settings of both, the person's first."""
        merged = payload | self.extra
        if "override_settings" in self.extra:
            merged["override_settings"] = payload.get("override_settings", {}) | self.extra["override_settings"]
        return merged


def _refused(where: str, given: dict[str, Any], reasons: dict[str, str]) -> list[str]:
    return [f"{where}.{name} can't be set: {reasons[name]}" for name in given if name in reasons]


def field(default: Any, title: str, help: str, position: int, **bounds: Any) -> Any:
    """A form field; ``position`` orders it in the Prefect UI."""
    extra = {"position": position, **bounds.pop("json_schema_extra", {})}
    return Field(default, title=title, description=help, json_schema_extra=extra, **bounds)


def extra_field(example: str) -> Any:
    """The explicit way for API fields that a form does not name."""
    return field(
        {}, "More API fields", f"Further fields of the WebUI's API, passed through as they are: {example}.", 90
    )
