"""``prefect.yaml``, read strictly: Prefect ignores unknown keys in silence, this refuses them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from store.settings import PROJECT

FILE = PROJECT / "prefect.yaml"


class Strict(BaseModel):
    """A part of the file: keys that are not listed are errors."""

    model_config = ConfigDict(extra="forbid")


class Timetable(Strict):
    """One entry of a deployment's ``schedules:``. Exactly one of cron, interval (seconds) and rrule."""

    slug: str = Field(pattern=r"^[a-z0-9-]+$")
    cron: str | None = None
    interval: float | None = Field(None, gt=0)
    anchor_date: datetime | None = None
    rrule: str | None = None
    timezone: str = "UTC"
    active: bool = True
    parameters: dict[str, Any] = {}

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{name!r} is no time zone such as Europe/Berlin") from None
        return name

    @model_validator(mode="after")
    def _one_kind(self) -> Timetable:
        if sum(kind is not None for kind in (self.cron, self.interval, self.rrule)) != 1:
            raise ValueError(f"the schedule {self.slug!r} needs exactly one of cron, interval and rrule")
        self.schedule()
        return self

    def schedule(self) -> CronSchedule | IntervalSchedule | RRuleSchedule:
        """The timetable as Prefect's schedule."""
        if self.cron is not None:
            return CronSchedule(cron=self.cron, timezone=self.timezone)
        if self.rrule is not None:
            return RRuleSchedule(rrule=self.rrule, timezone=self.timezone)
        assert self.interval is not None
        anchor = {"anchor_date": self.anchor_date} if self.anchor_date else {}
        return IntervalSchedule(interval=timedelta(seconds=self.interval), timezone=self.timezone, **anchor)

    def to_create(self) -> DeploymentScheduleCreate:
        return DeploymentScheduleCreate(
            schedule=self.schedule(), active=self.active, parameters=self.parameters, slug=self.slug
        )


class Pool(Strict):
    """A deployment's ``work_pool:``."""

    name: str
    work_queue_name: str = "default"
    job_variables: dict[str, Any] = {}


class Planned(Strict):
    """One entry of ``deployments:``."""

    name: str
    entrypoint: str = Field(pattern=r"^flows(\.\w+)+$")
    description: str = ""
    tags: list[str] = []
    parameters: dict[str, Any] = {}
    concurrency_limit: int | None = Field(None, ge=1)
    work_pool: Pool
    schedules: list[Timetable] = []


class Manifest(Strict):
    """The whole file. ``definitions:`` is where anchors live; nobody else reads it."""

    name: str
    definitions: dict[str, Any] = {}
    pull: list[Any]
    deployments: list[Planned]


def read_manifest(path: Path = FILE) -> Manifest:
    """
    Raises:
        ValueError: the file is missing, no YAML, or says something that Prefect would not understand.
    """
    try:
        return Manifest.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValidationError) as error:
        raise ValueError(f"{path}: {error}") from None
