"""A generation job: at once the YAML file, the flow's parameter and the Prefect UI's form."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError, WithJsonSchema, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from store.inputs import keep
from tasks.adetailer import ADETAILER, ADetailerPass
from tasks.form import LARGEST_SEED, Form, field
from tasks.img2img import IMG2IMG, Img2Img
from tasks.raw import RAW, Raw
from tasks.sampling import Sampling
from tasks.stage import Settings, Stage, Step
from tasks.txt2img import TXT2IMG, Txt2Img
from tasks.upscale import UPSCALE, Upscale
from variations.files import read_yaml
from variations.sweep import Axis, as_axes, cells

MOST_PICTURES = 1000
TIMETABLE = "when"  # key of a job file beside the job's fields
# Prefect checks a run's parameters against the schema before we see them: timetables and clients that know 0.1.0 send
# a single name, or null.
ONE_OR_SEVERAL = {
    "anyOf": [
        {"title": "names", "type": "array", "items": {"type": "string"}, "maxItems": 8},
        {"title": "one name", "type": "string"},
        {"type": "null"},
    ]
}


class GenerationJob(Form):
    """Pictures to make: from a prompt or from files, then repainted, refined and enlarged as you like.

    The fields whose annotation holds a :class:`tasks.stage.Stage` are the stages, in the order in which they run.
    """

    model_config = ConfigDict(title="Generation job")

    name: str = field("untitled", "Name", "Names the run, and the folder in the gallery.", 1, max_length=80)
    checkpoint: str = field(
        ..., "Checkpoint", "As the WebUI lists it: file, title, model name or hash.", 2, min_length=1
    )
    vae: Annotated[list[str], WithJsonSchema(ONE_OR_SEVERAL)] = field(
        [],
        "VAE",
        "As the WebUI lists it; empty: the checkpoint's own. On Forge also the text encoders (Flux: VAE, CLIP, T5).",
        3,
        max_length=8,
    )
    images: int = field(
        1, "Pictures", "How many, each with its own seed; with init images, of each.", 4, ge=1, le=MOST_PICTURES
    )
    batch_size: int = field(1, "Pictures per request", "For txt2img; more needs more memory.", 5, ge=1, le=16)
    wildcards: bool | None = field(
        None,
        "Wildcards",
        "Draw __name__ and {a|b} in prompts for each picture. Empty: where there is such a file, or such braces.",
        6,
    )
    init_images: list[str] = field([], "Init images", "Start from these files instead.", 11, max_length=100)
    txt2img: Annotated[Txt2Img | None, TXT2IMG] = field(None, "txt2img", "Start from a prompt.", 10)
    img2img: Annotated[Img2Img | None, IMG2IMG] = field(None, "img2img", "Repaint each picture.", 12)
    adetailer: Annotated[list[ADetailerPass], ADETAILER] = field(
        [], "ADetailer", "Passes over faces, hands and the like.", 13, max_length=8
    )
    upscale: Annotated[Upscale | None, UPSCALE] = field(None, "Upscale", "Enlarge each picture.", 14)
    sweep: list[Axis] = field([], "Sweep", "Up to three fields and their values: a grid of pictures.", 15, max_length=3)
    # No fields of the form: the template of each prompt that was drawn; of a sweep's cell, the value of each axis.
    templates: SkipJsonSchema[dict[str, str]] = Field({}, repr=False)
    cell: SkipJsonSchema[dict[str, str]] = Field({})

    raw: Annotated[Raw | None, RAW] = field(
        None, "Raw request", "Of a client of the WebUI's API: sent as it stands, instead of all else.", 20
    )

    @field_validator("vae", mode="before")
    @classmethod
    def _one_name_or_several(cls, given: Any) -> Any:
        """A single name is taken as well: up to 0.1.0 it was the only form."""
        return [] if given is None else [given] if isinstance(given, str) else given

    @field_validator("sweep", mode="before")
    @classmethod
    def _axes(cls, given: Any) -> Any:
        return as_axes(given)

    @model_validator(mode="after")
    def _consistent(self) -> GenerationJob:
        steps = self.steps()
        if self.raw is not None and (len(steps) > 1 or self.init_images or self.images > 1):
            raise ValueError("a raw request stands alone: it holds all that its pictures need")
        if self.raw is None and (self.txt2img is None) == (not self.init_images):
            raise ValueError("start from either txt2img or init_images")
        if not steps:
            raise ValueError("init_images need a stage that works on them, such as img2img")
        if self.total > MOST_PICTURES:
            raise ValueError(f"{self.total} pictures are too many for one job: at most {MOST_PICTURES}")
        if max(step.settings.sampling.seed for step in steps) + self.total - 1 > LARGEST_SEED:
            raise ValueError(f"picture i uses seed + i: {self.total} pictures go past the largest {LARGEST_SEED}")
        if self.sweep and (total := sum(cell.total for cell in self.cells())) > MOST_PICTURES:
            raise ValueError(f"{total} pictures are too many for one sweep: at most {MOST_PICTURES}")
        return self

    def cells(self) -> list[Self]:
        """The job for each cell of its sweep; itself where it has none.

        Raises:
            ValueError: says which cell is wrong, and how.
        """
        if not self.sweep:
            return [self]
        made = []
        for cell in cells(self.parameters()):
            try:
                made.append(type(self).model_validate(cell))
            except ValidationError as error:
                raise ValueError(f"the sweep's cell {cell['cell']}: {explain(error)}") from None
        return made

    @property
    def title(self) -> str:
        """The job's name, and where it is in its sweep."""
        where = ", ".join(f"{name} {value}" for name, value in self.cell.items())
        return f"{self.name} ({where})" if where else self.name

    @classmethod
    def stages(cls) -> tuple[Stage[Any], ...]:
        """The stages in the order in which they run; each has the name of its field."""
        return tuple(one for about in cls.model_fields.values() for one in about.metadata if isinstance(one, Stage))

    def steps(self, size: tuple[int, int] | None = None) -> list[Step[Any]]:
        """The stages that this job has, each with its settings; for init images of ``size``, where that is known.

        Raises:
            ValueError: a stage can't take or make pictures of that size.
        """
        settings, steps = Settings(Sampling(prompt=""), self.checkpoint, size), []
        for stage in self.stages():
            if form := getattr(self, stage.name):
                settings = stage.settings(form, settings)
                steps.append(Step(stage, form, settings))
        return steps

    @property
    def total(self) -> int:
        """Pictures at the end of the job."""
        return self.raw.pictures if self.raw else self.images * (len(self.init_images) or 1)

    @property
    def files(self) -> list[str]:
        """The files that the job starts from: paths, or references to the store."""
        given = [getattr(step.form, name) for step in self.steps() for name in step.stage.files]
        swept = [file for axis in self.sweep for file in axis.files]
        return [*self.init_images, *(self.raw.files if self.raw else []), *filter(None, given), *swept]

    def with_files_kept(self, beside: Path | None = None) -> GenerationJob:
        """The job with its files copied into the store and replaced by references; done when it is queued.

        Raises:
            ValueError: a file is missing or no picture.
        """
        changed: dict[str, Any] = {"init_images": [keep(file, beside=beside) for file in self.init_images]}
        changed["sweep"] = [axis.with_files_kept(beside) for axis in self.sweep]
        for step in self.steps():
            given = {name: file for name in step.stage.files if (file := getattr(step.form, name))}
            kept = {name: keep(file, beside=beside) for name, file in given.items()}
            changed[step.stage.name] = step.form.model_copy(update=kept) if kept else step.form
        return self.model_copy(update=changed)

    def with_seeds(self, draw: str) -> GenerationJob:
        """The job with a seed for each −1, and for a first stage that has none to take over.

        The same ``draw`` gives the same seeds, so a retry need not remember them.
        """
        seeds: dict[str, Any] = {}
        for number, step in enumerate(self.steps()):
            given = getattr(step.form, "seed", 0)
            if given == -1 or (given is None and number == 0):
                seed = random.Random(f"{draw} {step.stage.name}").randint(0, LARGEST_SEED - self.total)
                seeds[step.stage.name] = step.form.with_seed(seed)
        return self.model_copy(update=seeds)

    def parameters(self) -> dict[str, Any]:
        """The job as a flow run's parameter: JSON, without what was left at its default."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"name": self.name}


def read_job(path: Path) -> GenerationJob:
    """A job from a YAML file, its files kept in the store.

    Raises:
        ValueError: says which field of which file is wrong, and how.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no job: it should begin with fields such as checkpoint: and txt2img:")
    content.pop(TIMETABLE, None)  # `darkroom deploy` reads it
    try:
        return checked(content, path.stem, beside=path.parent)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from None


def checked(content: dict[str, Any], name: str, *, beside: Path | None) -> GenerationJob:
    """A job from a file's content, its own files kept in the store (see store.inputs.keep for ``beside``); ``name``:
    where the content has none.

    Raises:
        ValueError: a field is wrong (a ValidationError), or a file is missing or no picture.
    """
    return GenerationJob.model_validate({"name": name, **content}).with_files_kept(beside)


def explain(error: ValueError) -> str:
    """An error as it is; a validation error as ``field: what is wrong`` for each field."""
    if not isinstance(error, ValidationError):
        return str(error)
    lines = []
    for one in error.errors():
        where = ".".join(str(part) for part in one["loc"]) or "job"
        given = "" if one["type"] in ("missing", "value_error") else f" (given: {one['input']!r:.80})"
        lines.append(f"{where}: {one['msg'].removeprefix('Value error, ')}{given}")
    return "; ".join(lines)
