"""The waiting tasks in one JSON file, with the pictures that they start from, and back."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any, Literal

from prefect.client.orchestration import SyncPrefectClient
from pydantic import BaseModel, ConfigDict, ValidationError

from backlog.order import MOST, in_order, priority_of
from backlog.queue import create
from backlog.task import InvalidJob, Task
from flows.job import GenerationJob, explain
from store.files import write_whole
from store.inputs import SCHEME, put, references, stored


class Entry(BaseModel):
    """A task as the file has it; ``flow``: the one whose form it goes into, ``generate`` or ``batch``."""

    model_config = ConfigDict(extra="forbid")

    name: str
    flow: str
    priority: int = 0
    parameters: dict[str, Any]


class QueueFile(BaseModel):
    """The file: tasks in the order of the queue, and the store's files that they refer to, by name, in base64."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["darkroom queue 1"] = "darkroom queue 1"
    tasks: list[Entry]
    files: dict[str, str] = {}


def export_tasks(client: SyncPrefectClient, file: Path) -> int:
    """Write all waiting tasks; returns how many.

    Raises:
        ValueError: a picture that a task starts from is not in this machine's store.
    """
    tasks: list[Entry] = []
    flows: dict[Any, str] = {}
    while page := in_order(client, len(tasks), MOST):
        for run in page:
            flow = flows[run.flow_id] = flows.get(run.flow_id) or client.read_flow(run.flow_id).name
            tasks.append(Entry(name=run.name, flow=flow, priority=priority_of(run), parameters=run.parameters))
    named = set().union(*(references(task.model_dump_json()) for task in tasks))
    for name in [name for name in named if name.endswith(".jsonl")]:  # the jobs of a batch
        named |= references(stored(SCHEME + name).read_text())
    files = {name: base64.b64encode(stored(SCHEME + name).read_bytes()).decode() for name in sorted(named)}
    write_whole(file, QueueFile(tasks=tasks, files=files).model_dump_json(indent=1).encode())
    return len(tasks)


def import_tasks(client: SyncPrefectClient, file: Path) -> list[Task]:
    """Queue the tasks of a file behind those that wait. All are checked before the first is queued.

    Raises:
        InvalidJob: the file, or a task in it, is wrong, or a picture is not the one that was exported.
    """
    try:
        content = QueueFile.model_validate_json(file.read_bytes())
        files = {name: base64.b64decode(text, validate=True) for name, text in content.files.items()}
    except OSError as error:
        raise InvalidJob(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        raise InvalidJob(f"{file}: {explain(error)}") from None
    except ValueError as error:
        raise InvalidJob(f"{file}: {error}") from None
    for number, task in enumerate(content.tasks, start=1):
        given = [task.parameters.get("job"), *(task.parameters.get("jobs") or [])]
        for job in [one for one in given if one is not None]:
            try:
                GenerationJob.model_validate(job)
            except ValidationError as error:
                raise InvalidJob(f"{file}: task {number}, {task.name}: {explain(error)}") from None
    for name, picture in files.items():
        if hashlib.sha256(picture).hexdigest() != name.partition(".")[0]:
            raise InvalidJob(f"{file}: the picture {name} is damaged: export the queue again")
    for name, picture in files.items():
        put(name, picture)
    return [
        create(client, f"{task.flow}/{task.flow}", task.name, task.parameters, task.priority) for task in content.tasks
    ]
