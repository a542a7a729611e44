"""What a WebUI says, typed, under the API's own names. Unknown fields are dropped: each fork adds some."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Answer(BaseModel):
    """A part of a WebUI's answer; fields that we have no use for are dropped."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Checkpoint(Answer):
    """One entry of ``/sdapi/v1/sd-models``.

    ``hash`` (10 hex digits) and ``sha256`` are None until the WebUI first loaded the file; ``title`` grows by
    ``[hash]`` at that moment.
    """

    title: str
    model_name: str
    hash: str | None = None
    sha256: str | None = None
    filename: str = ""

    @property
    def stem(self) -> str:
        """The file's name without folder and ending: what ``info`` of a picture calls it."""
        return re.split(r"[/\\]", self.file)[-1].rpartition(".")[0] or self.model_name

    @property
    def file(self) -> str:
        """The title without its hash: a name that does not change at the first load."""
        return re.sub(r" \[[0-9a-f]+\]$", "", self.title)

    def is_called(self, name: str) -> bool:
        """Whether a WebUI takes ``name`` for this checkpoint: file, stem, title or hash, case counting."""
        return name in {self.file, self.stem, self.model_name, self.title, self.hash, self.sha256} - {None}

    def painted(self, info: ImageInfo) -> bool:
        """Whether a finished picture says that this checkpoint made it.

        By hash where both know it: two folders may hold files of one name.
        """
        if self.hash and info.sd_model_hash:
            return self.hash == info.sd_model_hash
        # Not by ``model_name`` alone: for a file in a folder that is ``folder_file``, and ``info`` says ``file``.
        return info.sd_model_name in (self.stem, self.model_name)


class State(Answer):
    """The ``state`` of ``/sdapi/v1/progress``: the WebUI's one running job, whoever's it is."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = 0
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0

    @property
    def running(self) -> bool:
        """``job_count`` is −1 while a job is set up and 0 when there is none."""
        return bool(self.job) or self.job_count != 0

    @property
    def jobs_done(self) -> float:
        """How many of ``job_count`` passes of the sampler are done, with that part of the one in work that is."""
        return self.job_no + min(1.0, self.sampling_step / max(1, self.sampling_steps)) if self.job_count > 0 else 0.0


class ProgressInfo(Answer):
    """``/sdapi/v1/progress``. ``progress`` is 0 to 1, ``eta_relative`` seconds (nonsense early in a job)."""

    progress: float = 0.0
    eta_relative: float = 0.0
    state: State = Field(default_factory=State)
    current_image: str | None = None
    textinfo: str | None = None

    @property
    def current_step(self) -> int:
        return self.state.sampling_step

    @property
    def total_steps(self) -> int:
        return self.state.sampling_steps


class TaskProgress(Answer):
    """``/internal/progress`` of one task id. ``progress`` is 0 to 1 or None while it waits; ``eta`` seconds."""

    active: bool = False
    queued: bool = False
    completed: bool = False
    progress: float | None = None
    eta: float | None = None
    live_preview: str | None = None
    id_live_preview: int = -1
    textinfo: str | None = None


class ImageInfo(Answer):
    """The ``info`` of a finished generation: what to believe about it (save for an interrupt)."""

    all_seeds: list[int] = Field(default_factory=list)
    infotexts: list[str] = Field(default_factory=list)
    index_of_first_image: int = 0
    sd_model_name: str | None = None
    sd_model_hash: str | None = None
    sd_vae_name: str | None = None
    clip_skip: int | None = None
    width: int = 0
    height: int = 0
    extra_generation_params: dict[str, Any] = Field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True)
class Generation:
    """A finished generation: encoded pictures in the order of ``info.all_seeds``, grids taken out."""

    images: list[bytes]
    info: ImageInfo


class Names(Answer):
    """One entry of a list that a request may name: samplers, schedulers, upscalers, styles, LoRAs."""

    name: str
    aliases: list[str] | None = None
    label: str | None = None
    alias: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _model_name(cls, entry: Any) -> Any:
        """VAE lists say ``model_name`` where the others say ``name``."""
        if isinstance(entry, dict) and "name" not in entry and "model_name" in entry:
            return {**entry, "name": entry["model_name"]}
        return entry
