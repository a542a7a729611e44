"""The deployments that Darkroom saves in Prefect, saved jobs among them.

A saved job is a deployment whose parameters hold a whole job: it is seen, started, edited and put on a schedule by its
name. Its schedules hold no parameters: Prefect empties them when a schedule is switched on in the UI.

A deployment's tags name its origin (``prefect.yaml``, a file, the user), and each origin updates and removes only its
own. Tags, because Prefect's API filters by them and returns them in lists; its client cannot set a deployment's labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import Flow, load_flow_from_entrypoint

from deployments.manifest import DeploymentEntry

SAVED_JOB = "saved-job"  # the tag of saved jobs
ORIGIN = "origin:"  # begins the tag that names the origin
Say = Callable[[str], None]


class NotSaved(ValueError):
    """A deployment was left as it is; the message says why."""


def saved_jobs(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """The saved jobs of every origin by their names, flow/deployment."""
    return _tagged(client, SAVED_JOB)


def leftovers(client: SyncPrefectClient, origin: str, named: set[str]) -> list[str]:
    """The names of an origin's deployments that are not among ``named``."""
    return sorted(set(_tagged(client, ORIGIN + origin)) - named)


def origin_of(deployment: DeploymentResponse) -> str:
    """Where it comes from; empty: version 0.1 or somebody else made it."""
    return next((tag.removeprefix(ORIGIN) for tag in deployment.tags if tag.startswith(ORIGIN)), "")


def remove(client: SyncPrefectClient, name: str) -> bool:
    """Delete a deployment and the runs that its schedules have laid out.

    Returns False, and deletes nothing, while another run of it has not ended: Prefect would delete the queued ones
    too, and without its deployment no worker can start a run.
    """
    deployment = client.read_deployment_by_name(name)
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment.id]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"not_any_": TERMINAL_STATES}}}),
    )
    if any(not run.auto_scheduled or run.run_count for run in runs):
        return False
    client.delete_deployment(deployment.id)
    return True


def save(
    client: SyncPrefectClient, entry: DeploymentEntry, origin: str, say: Say, switches: Mapping[str, bool] | None = None
) -> None:
    """Create a deployment with its schedules, or update it where ``entry`` or the flow's signature changed.

    It is a saved job unless it is named like its flow: that one is the flow's form. What a user changed in Prefect
    stays until ``entry`` itself changes, a schedule's switch also then.

    Args:
        switches: by slug, whether a schedule that is created is on; else as ``entry`` says.

    Raises:
        NotSaved: one of another origin has the name, or Prefect refuses the parameters. All is as it was.
    """
    try:
        there = client.read_deployment_by_name(entry.full_name)
    except ObjectNotFound:
        there = None
    if there is not None and origin_of(there) not in ("", origin):
        raise NotSaved(f"deployment {entry.full_name}: {origin_of(there)} saved one of this name; choose another")
    schedules = [one.to_create((switches or {}).get(one.slug, one.active)) for one in entry.schedules]
    flow: Flow[Any, Any] = load_flow_from_entrypoint(entry.entrypoint)
    said = _said(entry, flow, origin, there)
    try:
        if there is None:
            flow_id = client.create_flow(flow)
            client.create_deployment(flow_id, entry.name, schedules=schedules, pull_steps=[], **said)
            say(f"deployment {entry.full_name}: created")
        elif there.version != said["version"]:
            # Not without a change: an update deletes the runs that schedules have laid out. Schedules one by one: an
            # update that lists them may delete the user's. The version comes last: it says that all is done.
            known = {one.slug: one.id for one in there.schedules}
            for one in schedules:
                if one.slug in known:
                    client.update_deployment_schedule(there.id, known[one.slug], schedule=one.schedule)
                else:
                    client.create_deployment_schedules(there.id, [one])
            client.update_deployment(there.id, DeploymentUpdate(**said))
            say(f"deployment {entry.full_name}: updated")
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in (409, 422):
            raise
        answer = error.response.json()
        reason = answer.get("detail") or answer.get("exception_detail")
        raise NotSaved(f"deployment {entry.full_name}: Prefect refuses it: {reason}") from None


def _said(
    entry: DeploymentEntry, flow: Flow[Any, Any], origin: str, there: DeploymentResponse | None
) -> dict[str, Any]:
    """A deployment's fields as Prefect's client takes them, but for its schedules."""
    tags = [*entry.tags, *([SAVED_JOB] if entry.name != flow.name else []), ORIGIN + origin]
    asked = _digest([entry.model_dump(mode="json"), tags])
    # Parameters that were edited in Prefect are not lost where an upgrade changes the flow alone.
    unchanged = there is not None and (there.version or "").startswith(asked)
    return {
        "version": f"{asked}-{_digest([flow.description, repr(flow.parameters)])}",
        "description": entry.description or flow.description,
        "tags": tags,
        "parameters": there.parameters if there is not None and unchanged else entry.parameters,
        "parameter_openapi_schema": flow.parameters.model_dump(exclude_unset=True),
        "enforce_parameter_schema": True,
        "entrypoint": entry.entrypoint,
        "concurrency_limit": entry.concurrency_limit,
        "work_pool_name": entry.work_pool.name,
        "work_queue_name": entry.work_pool.work_queue_name,
        "job_variables": entry.work_pool.job_variables,
    }


def _digest(said: Any) -> str:
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]


def _tagged(client: SyncPrefectClient, tag: str) -> dict[str, DeploymentResponse]:
    wanted = DeploymentFilter.model_validate({"tags": {"all_": [tag]}})
    found: list[DeploymentResponse] = []
    while page := client.read_deployments(deployment_filter=wanted, offset=len(found)):
        found += page
    flows = {flow: client.read_flow(flow).name for flow in {one.flow_id for one in found}}
    return {f"{flows[one.flow_id]}/{one.name}": one for one in found}
