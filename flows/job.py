"""A generation job: at once the YAML file, the flow's parameter and the Prefect UI's form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, ValidationError, model_validator

from store.inputs import keep
from tasks.adetailer import ADetailerPass
from tasks.form import LARGEST_RESULT, LARGEST_SEED, Form, field
from tasks.img2img import Img2Img
from tasks.txt2img import Txt2Img
from tasks.upscale import Upscale

MOST_PICTURES = 1000


class GenerationJob(Form):
    """Pictures to make: from words or from files, then repainted, refined and enlarged as you like."""

    model_config = ConfigDict(title="Generation job")

    name: str = field("untitled", "Name", "Names the run, and the folder in the gallery.", 1, max_length=80)
    checkpoint: str = field(
        ..., "Checkpoint", "As the WebUI lists it: file, title, model name or hash.", 2, min_length=1
    )
    vae: str | None = field(None, "VAE", "As the WebUI lists it; empty: the checkpoint's own.", 3)
    images: int = field(
        1,
        "Pictures",
        "How many, each with its own seed; with init images, of each.",
        4,
        ge=1,
        le=MOST_PICTURES,
    )
    batch_size: int = field(1, "Pictures per request", "For txt2img; more needs more memory.", 5, ge=1, le=16)
    txt2img: Txt2Img | None = field(None, "txt2img", "Start from words.", 10)
    init_images: list[str] = field([], "Init images", "Start from these files instead.", 11, max_length=100)
    img2img: Img2Img | None = field(None, "img2img", "Repaint each picture.", 12)
    adetailer: list[ADetailerPass] = field([], "ADetailer", "Passes over faces, hands and the like.", 13, max_length=8)
    upscale: Upscale | None = field(None, "Upscale", "Enlarge each picture.", 14)

    @model_validator(mode="after")
    def _one_start(self) -> GenerationJob:
        if (self.txt2img is None) == (not self.init_images):
            raise ValueError("start from either txt2img or init_images")
        if self.init_images and not (self.img2img or self.adetailer or self.upscale):
            raise ValueError("init_images need a stage that works on them: img2img, adetailer or upscale")
        if self.total > MOST_PICTURES:
            raise ValueError(f"{self.total} pictures are too many for one job: at most {MOST_PICTURES}")
        if self.txt2img is not None and self.upscale is not None:
            wide, high = self.txt2img.size
            if self.img2img is not None:
                wide, high = self.img2img.resized(wide, high)
            if max(wide, high) * self.upscale.factor > LARGEST_RESULT:
                factor = f"{self.upscale.factor:g}"
                raise ValueError(f"upscaling {wide}×{high} by {factor} makes more than {LARGEST_RESULT} pixels a side")
        for stage in (self.txt2img, self.img2img):
            if stage is not None and stage.seed is not None and stage.seed + self.total - 1 > LARGEST_SEED:
                raise ValueError(f"picture i uses seed + i: {self.total} pictures go past the largest {LARGEST_SEED}")
        return self

    @property
    def total(self) -> int:
        """Pictures at the end of the job."""
        return self.images * (len(self.init_images) or 1)

    @property
    def files(self) -> list[str]:
        """The files that the job starts from: paths, or references to the store."""
        mask = self.img2img.mask if self.img2img is not None else None
        return [*self.init_images, *([mask] if mask else [])]

    def with_files_kept(self, beside: Path | None = None) -> GenerationJob:
        """The job with its files copied into the store and replaced by references; done when it is queued.

        Raises:
            ValueError: a file is missing or no picture.
        """
        changed: dict[str, Any] = {"init_images": [keep(file, beside=beside) for file in self.init_images]}
        if self.img2img is not None and self.img2img.mask is not None:
            changed["img2img"] = self.img2img.model_copy(update={"mask": keep(self.img2img.mask, beside=beside)})
        return self.model_copy(update=changed)

    def parameters(self) -> dict[str, Any]:
        """The job as a flow run's parameter: JSON, without what was left at its default."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"name": self.name}


def read_job(path: Path) -> GenerationJob:
    """A job from a YAML file, its files kept in the store.

    Raises:
        ValueError: says which field of which file is wrong, and how.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no job: it should begin with fields such as checkpoint: and txt2img:")
    content.setdefault("name", path.stem)
    try:
        return GenerationJob.model_validate(content).with_files_kept(beside=path.parent)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """A validation error as lines of ``field: what is wrong``."""
    lines = []
    for one in error.errors():
        where = ".".join(str(part) for part in one["loc"]) or "job"
        given = "" if one["type"] in ("missing", "value_error") else f" (given: {one['input']!r:.80})"
        lines.append(f"{where}: {one['msg'].removeprefix('Value error, ')}{given}")
    return "; ".join(lines)
