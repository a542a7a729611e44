"""``darkroom queue``: the tasks that wait, run and have ended, listed, changed, moved, tried again, removed.

A task is named by its id or by the first characters of it, as the list shows them.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import yaml
from cyclopts import App, Parameter

from cli.common import complain, queue_client, say, say_queued

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from backlog.task import Task

LATEST = 200  # tasks of the history among which the beginning of an id is looked for

queue = App(name="queue", help="What waits, runs and has ended: list it, change it, move it, try it again.")
Json = Annotated[bool, Parameter(name="--json", help="As JSON, for programs.", negative=())]
Changes = Annotated[list[str], Parameter(help="Fields of the job: txt2img.steps=30, name=moon; field= removes it.")]
Ended = Literal["completed", "failed", "cancelled", "stopped"]


@queue.command(name="list")
def list_tasks(
    *,
    history: Annotated[bool, Parameter(help="What has ended, the latest first.", negative=())] = False,
    offset: int = 0,
    limit: Annotated[int, Parameter(help="Tasks, at most 200.")] = 100,
    as_json: Json = False,
) -> int:
    """What is under way and what waits, in order."""
    with queue_client() as client:
        from backlog import queue as tasks

        if history:
            found = tasks.history(client, offset=offset, limit=limit)
        else:
            found = [*(tasks.running(client) if not offset else []), *tasks.waiting(client, offset, limit)]
        if as_json:
            say(json.dumps([one.model_dump(mode="json") for one in found]))
            return 0
        _print_table(found)
        if not history:
            whole = tasks.overview(client)
            say(", ".join(f"{count} {status}" for status, count in whole.counts.items() if count) or "nothing waits")
            if whole.paused:
                say("paused: `darkroom queue resume`")
            elif whole.eta is not None:
                say(f"done in about {_as_time(whole.eta)}")
    return 0


@queue.command
def show(task: str, *, as_json: Json = False) -> int:
    """All that is known of one task: job, state, error, pictures, its page in the Prefect UI."""
    with queue_client() as client:
        from backlog import queue as tasks

        found = tasks.show(client, _id(client, task)).model_dump(mode="json")
    say(json.dumps(found) if as_json else yaml.safe_dump(found, sort_keys=False, allow_unicode=True).rstrip())
    return 0


@queue.command
def edit(task: str, changes: Changes) -> int:
    """Change the job of a task that waits."""
    with queue_client() as client:
        from backlog.change import edit as change

        say(f"{change(client, _id(client, task), _fields(changes)).name}: changed")
    return 0


@queue.command
def duplicate(task: str, changes: Changes | None = None) -> int:
    """Queue a task once more, as a new one, with changes or without."""
    with queue_client() as client:
        from backlog.change import duplicate as copy

        say_queued(copy(client, _id(client, task), _fields(changes or [])))
    return 0


@queue.command
def move(
    task: str, to: Annotated[str, Parameter(help="top, bottom, or the waiting task that it is to come before.")]
) -> int:
    """Put a waiting task elsewhere."""
    with queue_client() as client:
        from backlog.change import move as put

        say(f"{put(client, _id(client, task), to if to in ('top', 'bottom') else _id(client, to)).name}: moved")
    return 0


@queue.command
def priority(
    task: str, number: Annotated[int, Parameter(help="Lower runs first; 0 is usual.", allow_leading_hyphen=True)]
) -> int:
    """Give a waiting task another priority."""
    with queue_client() as client:
        from backlog.change import set_priority

        say(f"{set_priority(client, _id(client, task), number).name}: priority {number}")
    return 0


@queue.command
def cancel(*tasks: str) -> int:
    """Cancel tasks that wait or run."""
    with queue_client() as client:
        from backlog.change import cancel as end

        for task in tasks:
            found = end(client, _id(client, task))
            say(f"{found.name}: {'is being cancelled' if found.status == 'running' else found.status}")
    return 0


@queue.command
def delete(*tasks: str) -> int:
    """Remove tasks that are not under way; pictures in the gallery stay."""
    with queue_client() as client:
        from backlog.change import delete as remove

        for task in tasks:
            remove(client, _id(client, task))
            say(f"{task}: removed")
    return 0


@queue.command
def retry(
    *tasks: str, failed: Annotated[bool, Parameter(help="All that failed or stopped.", negative=())] = False
) -> int:
    """Try tasks again: the same ones, which keep their finished pictures."""
    with queue_client() as client:
        from backlog.change import retry as again
        from backlog.control import retry_failed

        for task in tasks:
            say(f"{again(client, _id(client, task)).name}: waits again")
        if failed:
            say(f"{retry_failed(client)} tasks wait again")
    return 0


@queue.command
def clear(*statuses: Ended, days: Annotated[float, Parameter(help="Only what ended so long ago.")] = 0) -> int:
    """Remove what has ended (all, or only in these ways) from the history; pictures in the gallery stay."""
    with queue_client() as client:
        from backlog.control import clear as remove
        from backlog.task import ENDED, Status

        count = remove(client, [Status(one) for one in statuses] or ENDED, timedelta(days=days))
    say(f"{count} tasks removed")
    return 0


@queue.command
def pause(when: Literal["after-task", "after-picture", "now"] = "after-task") -> int:
    """Start nothing more; what runs is finished, or stops after its picture, or at once."""
    with queue_client() as client:
        from backlog import control

        control.pause(client, control.Pause(when))
    say("paused; go on with `darkroom queue resume`")
    return 0


@queue.command
def resume() -> int:
    """Go on after a pause."""
    with queue_client() as client:
        from backlog.control import resume as go_on

        go_on(client)
    say("the queue goes on")
    return 0


@queue.command(name="export")
def export_queue(file: Path) -> int:
    """Write what waits into a JSON file, given pictures included."""
    with queue_client() as client:
        from backlog.transfer import export_tasks

        say(f"{file}: {export_tasks(client, file)} tasks")
    return 0


@queue.command(name="import")
def import_queue(file: Path) -> int:
    """Queue what such a file holds, in its order; nothing, if one of the tasks is wrong."""
    with queue_client() as client:
        from backlog.transfer import import_tasks

        say(f"{len(import_tasks(client, file))} tasks queued")
    return 0


def _id(client: SyncPrefectClient, text: str) -> UUID:
    """The task that a text names."""
    from backlog import queue as tasks

    try:
        return UUID(text)
    except ValueError:
        known = [*tasks.running(client), *tasks.waiting(client, 0, LATEST), *tasks.history(client, limit=LATEST)]
        found = [one.id for one in known if str(one.id).startswith(text)]
    if len(found) == 1:
        return found[0]
    complain(f"{text}: {'no task has such an id' if not found else 'several tasks have such an id'}")
    raise SystemExit(2)


def _fields(changes: list[str]) -> dict[str, Any]:
    """``a.b=1`` as ``{"a": {"b": 1}}``; values are read as in a CSV file of jobs, an empty one removes the field."""
    from variations.files import put_field

    fields: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        try:
            if not equals:
                raise ValueError("say field=value, such as txt2img.steps=30")
            put_field(fields, name, value)
        except ValueError as error:
            complain(f"{change}: {error}")
            raise SystemExit(2) from None
    return fields


def _print_table(tasks: list[Task]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("#", "id", "name", "status", "checkpoint", "pictures", "done", "in about", "priority", box=None)
    for task in tasks:
        table.add_row(
            str(task.position or ""),
            str(task.id)[:8],
            task.name,
            task.status + (f" ({task.error[:60]})" if task.error else ""),
            task.checkpoint,
            str(task.pictures or ""),
            f"{100 * task.progress:.0f} %" if task.progress else "",
            _as_time(task.eta) if task.eta is not None else "",
            str(task.priority or ""),
        )
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)  # uncut for a file or a program


def _as_time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
