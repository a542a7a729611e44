"""Saved jobs: listed, kept apart by origin, updated without losing what a user changed, removed when it is safe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.bootstrap import ORIGIN, ensure_deployments
from deployments.manifest import DeploymentEntry, Manifest, read_manifest
from deployments.saved import NotSaved, leftovers, origin_of, remove, save, saved_jobs
from tests.servers import Prefect

JOB = {"name": "moon", "checkpoint": "photo", "txt2img": {"prompt": "a moon", "steps": 1, "width": 64, "height": 64}}
NAME = "generate/moon"


def entry(*, steps: int = 1, active: bool = False, **changes: Any) -> DeploymentEntry:
    job = JOB | {"txt2img": {"prompt": "a moon", "steps": steps, "width": 64, "height": 64}}
    fields = {
        "name": "moon",
        "entrypoint": "flows.generate.generate",
        "parameters": {"job": job},
        "work_pool": {"name": "gpu"},
        "schedules": [{"slug": "moon", "cron": "0 4 * * *", "active": active}],
    }
    return DeploymentEntry.model_validate(fields | changes)


@pytest.fixture
def client(deployed: Prefect) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: deployed.api}), get_client(sync_client=True) as client:
        yield client
        for name, deployment in saved_jobs(client).items():
            if name == NAME:
                client.delete_deployment(deployment.id)


@pytest.fixture
def told() -> list[str]:
    return []


def test_saved_jobs_are_listed_by_name_and_forms_are_not(client: SyncPrefectClient, told: list[str]) -> None:
    save(client, entry(), "user", told.append)
    found = saved_jobs(client)
    assert set(found) == {NAME, "generate/nightly", "generate/every-six-hours", "generate/first-monday"}
    assert origin_of(found[NAME]) == "user"
    assert found[NAME].parameters["job"]["name"] == "moon"
    assert origin_of(found["generate/nightly"]) == ORIGIN
    assert told == [f"deployment {NAME}: created"]


def test_saving_again_changes_nothing_and_a_change_is_an_update(client: SyncPrefectClient, told: list[str]) -> None:
    save(client, entry(active=True), "user", told.append)
    before = client.read_deployment_by_name(NAME)
    save(client, entry(active=True), "user", told.append)
    assert client.read_deployment_by_name(NAME) == before
    save(client, entry(steps=2, active=True), "user", told.append)
    assert told == [f"deployment {NAME}: created", f"deployment {NAME}: updated"]
    assert client.read_deployment_by_name(NAME).parameters["job"]["txt2img"]["steps"] == 2


def test_an_update_leaves_the_switch_and_the_users_own_schedules(
    deployed: Prefect, client: SyncPrefectClient, told: list[str]
) -> None:
    save(client, entry(active=True), "user", told.append)
    there = client.read_deployment_by_name(NAME)
    client.update_deployment_schedule(there.id, there.schedules[0].id, active=False)
    deployed.call("POST", f"/deployments/{there.id}/schedules", [{"schedule": {"cron": "1 1 * * *"}, "active": True}])
    other = [
        {"slug": "moon", "cron": "0 5 * * *", "active": True},
        {"slug": "second", "cron": "0 6 * * *", "active": False},
    ]
    save(client, entry(schedules=other), "user", told.append)
    after = client.read_deployment_by_name(NAME)
    assert {(one.slug, one.schedule.model_dump().get("cron"), one.active) for one in after.schedules} == {
        ("moon", "0 5 * * *", False),
        ("second", "0 6 * * *", False),
        (None, "1 1 * * *", True),
    }


def test_a_job_edited_in_prefect_outlives_an_upgrade_of_the_flow(
    deployed: Prefect, client: SyncPrefectClient, told: list[str]
) -> None:
    save(client, entry(), "user", told.append)
    there = client.read_deployment_by_name(NAME)
    edited = {"job": JOB | {"images": 7}}
    # The flow's part of the version is that of an older Darkroom.
    older = f"{(there.version or '').partition('-')[0]}-000000000000"
    deployed.call("PATCH", f"/deployments/{there.id}", {"parameters": edited, "version": older})
    save(client, entry(), "user", told.append)
    after = client.read_deployment_by_name(NAME)
    assert after.version == there.version
    assert after.parameters == edited


def test_one_of_another_origin_is_left_as_it_is(client: SyncPrefectClient, told: list[str]) -> None:
    save(client, entry(), "user", told.append)
    with pytest.raises(NotSaved, match="user saved one of this name"):
        save(client, entry(steps=9), ORIGIN, told.append)
    assert client.read_deployment_by_name(NAME).parameters["job"]["txt2img"]["steps"] == 1
    assert NAME not in leftovers(client, ORIGIN, set())


def test_what_prefect_refuses_is_said_and_the_others_are_saved(client: SyncPrefectClient, told: list[str]) -> None:
    wrong = entry(name="wrong", parameters={"job": JOB | {"images": "many"}})
    manifest = read_manifest()
    manifest = manifest.model_copy(update={"deployments": [wrong, *manifest.deployments, entry()]})
    ensure_deployments(client, manifest, told.append, remove_leftovers=False)
    assert any(line.startswith("deployment generate/wrong: ") and "many" in line for line in told)
    assert NAME in saved_jobs(client) and "generate/wrong" not in saved_jobs(client)


def test_leftovers_are_named_and_removed_only_when_asked(client: SyncPrefectClient, told: list[str]) -> None:
    manifest: Manifest = read_manifest()
    save(client, entry(), ORIGIN, told.append)
    save(client, entry(name="of-the-user"), "user", told.append)
    told.clear()
    try:
        ensure_deployments(client, manifest, told.append, remove_leftovers=False)
        assert told == [
            f"deployment {NAME}: left over, prefect.yaml no longer names it. `darkroom deploy --remove-leftovers`"
        ]
        told.clear()
        ensure_deployments(client, manifest, told.append, remove_leftovers=True)
        assert told == [f"deployment {NAME}: removed"]
        assert NAME not in saved_jobs(client) and "generate/of-the-user" in saved_jobs(client)
    finally:
        client.delete_deployment(client.read_deployment_by_name("generate/of-the-user").id)


def test_a_leftover_with_a_run_that_has_not_ended_is_kept(
    deployed: Prefect, client: SyncPrefectClient, told: list[str]
) -> None:
    save(client, entry(active=True), ORIGIN, told.append)
    there = client.read_deployment_by_name(NAME)
    deployed.call("POST", f"/deployments/{there.id}/schedule", {})  # lays out the runs of its schedule
    run = client.create_flow_run_from_deployment(there.id)
    assert not remove(client, NAME)
    deployed.set_state(str(run.id), "CANCELLED")
    assert remove(client, NAME)
    assert NAME not in saved_jobs(client)
