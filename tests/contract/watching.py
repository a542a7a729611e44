"""Look at a server through HTTP at every change of its job state.

The recorder polled ten times a second and saw some of the states. Here the job itself stops at each change
of its state until a client has looked, so that nothing is missed and nothing depends on time: what was
recorded must be a part of what is seen, in the same order.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from compaction import MEASURED
from replaying import Client, common

from webui.embedded.state import State

_SHOWN = {
    "interrupted",
    "job",
    "job_count",
    "job_no",
    "sampling_step",
    "sampling_steps",
    "skipped",
}
_WHOLE_METHODS = ("begin", "begin_sampling", "nextjob", "end")


class Watch:
    """Records what each source says at every change of `client.server.state`, without repeats.

    `sources` are the recordings' names of them. `between` is called after each look with what
    `/sdapi/v1/progress` said; a test sends its next request there, while the job stands still.
    """

    def __init__(self, client: Client, sources: list[str], *, with_image: bool) -> None:
        self.client = client
        self.sources = sources
        self.with_image = with_image
        self.between: Callable[[dict[str, Any]], None] = lambda _: None
        self.seen: dict[str, list[Any]] = {source: [] for source in sources}
        self._inside = threading.local()

    def __enter__(self) -> Watch:
        state = self.client.server.state
        self._class = type(state)
        state.__class__ = self._watched(self._class)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.server.state.__class__ = self._class

    def _watched(self, base: type[State]) -> type[State]:
        watch = self

        class Watched(base):  # type: ignore[valid-type,misc]  # the base is a value
            def __setattr__(self, name: str, value: Any) -> None:
                super().__setattr__(name, value)
                if name in _SHOWN and not getattr(watch._inside, "busy", False):
                    watch.look()

        def whole(name: str) -> Callable[..., Any]:
            method = getattr(base, name)

            @functools.wraps(method)
            def looked_at(self: State, *args: Any, **kwargs: Any) -> Any:
                outer = getattr(watch._inside, "busy", False)
                watch._inside.busy = True
                try:
                    result = method(self, *args, **kwargs)
                finally:
                    watch._inside.busy = outer
                watch.look()
                return result

            return looked_at

        for name in _WHOLE_METHODS:
            setattr(Watched, name, whole(name))
        return Watched

    def look(self) -> None:
        """Ask every source once."""
        outer = getattr(self._inside, "busy", False)
        self._inside.busy = True
        try:
            progress = {}
            for source in self.sources:
                said = self._ask(source)
                if source == "sdapi":
                    progress = said
                if not self.seen[source] or self.seen[source][-1] != said:
                    self.seen[source].append(said)
            self.between(progress)
        finally:
            self._inside.busy = outer

    def mark(self, event: str) -> None:
        """Note an event in the sequence of every source."""
        for said in self.seen.values():
            said.append(event)

    def _ask(self, source: str) -> Any:
        if source == "sdapi":
            wanted = "false" if self.with_image else "true"
            said = self.client.get(f"/sdapi/v1/progress?skip_current_image={wanted}")
        elif source == "pending":
            said = self.client.get("/internal/pending-tasks")
        else:
            said = self.client.progress_of(source.removeprefix("internal:"))
        return comparable(said)


def comparable(said: dict[str, Any]) -> dict[str, Any]:
    """An answer without what is measured; floats without their last bits."""
    said = common({key: value for key, value in said.items() if key not in MEASURED})
    if isinstance(said.get("progress"), float):
        said["progress"] = round(said["progress"], 6)
    if "state" in said:
        said["state"] = {key: value for key, value in said["state"].items() if key != "job_timestamp"}
    if "tasks" in said:
        said["tasks"] = [_unnamed(task) for task in said["tasks"]]
    return said


def _unnamed(task: str) -> str:
    return task[:13] + "...)" if task.startswith(("task(txt2img-", "task(img2img-")) else task


def recorded_sequences(timeline: list[list[Any]]) -> dict[str, list[Any]]:
    """Per source the distinct answers in order, with the events (requests sent) between them."""
    sources = {entry[0] for entry in timeline if len(entry) == 2}
    sequences: dict[str, list[Any]] = {source: [] for source in sources}
    for entry in timeline:
        if len(entry) == 1:
            if entry[0].startswith(">> event") or entry[0].startswith(">> send"):
                for sequence in sequences.values():
                    sequence.append(entry[0])
        else:
            said = comparable(entry[1])
            if not sequences[entry[0]] or sequences[entry[0]][-1] != said:
                sequences[entry[0]].append(said)
    return sequences


def first_missing(recorded: list[Any], ours: list[Any]) -> Any:
    """The first item of `recorded` that is not found in `ours` after the ones before it; None if all are."""
    place = iter(ours)
    for item in recorded:
        if not any(item == seen for seen in place):
            return item
    return None
