"""``prefect.yaml``, read strictly: Prefect ignores unknown keys in silence, this refuses them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import SCHEDULE_TYPES, construct_schedule
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hours.policy import Policy
from store.parsing import parse_yaml, read_text
from store.settings import PROJECT

FILE = PROJECT / "prefect.yaml"


class Strict(BaseModel):
    """A part of the file: keys that are not listed are errors."""

    model_config = ConfigDict(extra="forbid")


class ScheduleEntry(Strict):
    """One entry of a deployment's ``schedules:``. Exactly one of cron, interval (seconds) and rrule."""

    slug: str = Field(pattern=r"^[a-z0-9-]+$")
    cron: str | None = None
    interval: float | None = Field(None, gt=0)
    anchor_date: datetime | None = None
    rrule: str | None = None
    timezone: str = "UTC"
    active: bool = True

    @model_validator(mode="before")
    @classmethod
    def _no_parameters(cls, given: Any) -> Any:
        if isinstance(given, dict) and "parameters" in given:
            raise ValueError(
                "a schedule's parameters are emptied by Prefect when it is switched on in the UI: "
                "make the job a deployment of its own, with the job as that deployment's parameters"
            )
        return given

    @model_validator(mode="after")
    def _can_be_built(self) -> ScheduleEntry:
        self.schedule()
        return self

    def schedule(self) -> SCHEDULE_TYPES:
        """The same as Prefect's model, which checks each kind."""
        return construct_schedule(self.interval, self.anchor_date, self.cron, self.rrule, self.timezone)

    def to_create(self, active: bool) -> DeploymentScheduleCreate:
        """What Prefect's client takes, switched on or off."""
        return DeploymentScheduleCreate(schedule=self.schedule(), active=active, slug=self.slug)


class When(ScheduleEntry):
    """``when:`` of a job file: a schedule, and its runs' policy. ``not_after`` is by the clock of ``timezone``."""

    missed: Literal["latest", "all", "none"] = "latest"
    not_after: str | None = None
    at_most: int | None = None

    def policy(self) -> dict[str, Any]:
        """The parameter of the flow.

        Raises:
            ValueError: a latest time that is none.
        """
        own: dict[str, Any] = {"missed": self.missed, "at_most": self.at_most}
        own |= {"not_after": f"{self.not_after} {self.timezone}"} if self.not_after else {}
        return Policy.model_validate(own).model_dump(mode="json", exclude_none=True)

    def entry(self) -> ScheduleEntry:
        """The schedule alone."""
        return ScheduleEntry.model_validate(self.model_dump(include={*ScheduleEntry.model_fields}))


class PoolEntry(Strict):
    """A deployment's ``work_pool:``."""

    name: str
    work_queue_name: str = "default"
    job_variables: dict[str, Any] = {}


class DeploymentEntry(Strict):
    """One entry of ``deployments:``."""

    name: str
    entrypoint: str = Field(pattern=r"^flows(\.\w+)+$")
    description: str = ""
    tags: list[str] = []
    parameters: dict[str, Any] = {}
    concurrency_limit: int | None = Field(None, ge=1)
    work_pool: PoolEntry
    schedules: list[ScheduleEntry] = []

    @property
    def full_name(self) -> str:
        """flow/deployment, as Prefect's commands and its API take it; a flow is named like its function."""
        return f"{self.entrypoint.rpartition('.')[2]}/{self.name}"


class Manifest(Strict):
    """The whole file. ``definitions:`` is where anchors live; nobody else reads it."""

    name: str
    definitions: dict[str, Any] = {}
    pull: list[Any]
    deployments: list[DeploymentEntry]


def read_manifest(path: Path = FILE) -> Manifest:
    """The file's content.

    Raises:
        ValueError: the file is missing, no YAML, or says something that Prefect would not understand.
    """
    text = read_text(path)
    try:
        return Manifest.model_validate(parse_yaml(text))
    except ValueError as error:  # pydantic's ValidationError is one
        raise ValueError(f"{path}: {error}") from None
