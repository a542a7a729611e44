"""A job from a picture: the infotext that a WebUI wrote into it, read back as what paints it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flows.job import GenerationJob


@dataclass(frozen=True)
class Captured:
    """A job, and what of the infotext it can't carry over, each with the reason."""

    job: GenerationJob
    lost: list[str] = field(default_factory=list)


def capture(picture: Path | bytes | str, name: str = "captured") -> Captured:
    """The job of a PNG (a path or its bytes) or of an infotext (text).

    Raises:
        InvalidJob: it carries no infotext, or one without a checkpoint or prompt.
    """
    raise NotImplementedError
