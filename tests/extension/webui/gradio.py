"""Gradio as far as an extension sees it: components, and the functions that their clicks call."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import Any

from modules import script_callbacks

__version__ = "4.40.0"
_ids = count(1)


class Request:
    username = None


class Component:
    def __init__(self, value: Any = None, *, elem_id: str | None = None) -> None:
        for callback in script_callbacks.before_component:
            callback(self, elem_id=elem_id)
        self.value, self.elem_id, self._id = value, elem_id, next(_ids)
        if Blocks.open:
            Blocks.open.blocks[self._id] = self


class HTML(Component):
    pass


class Row(Component):
    pass


class State(Component):
    pass


class Button(Component):
    def click(self, **told: Any) -> Any:
        return Blocks.open._add([(self._id, "click")], told)


class Blocks:
    """A page; ``version`` 3 keeps its functions as Gradio 3 does."""

    open: Any = None

    def __init__(self, version: int = 4) -> None:
        self.functions: list[Any] = []
        self.blocks: dict[int, Component] = {}
        self.version = version

    def __enter__(self) -> Blocks:
        Blocks.open = self
        return self

    def __exit__(self, *_error: object) -> None:
        Blocks.open = None

    @property
    def fns(self) -> Any:
        return dict(enumerate(self.functions)) if self.version == 4 else self.functions

    @property
    def dependencies(self) -> list[dict[str, Any]]:
        return [{"trigger": one.targets[0][1], "targets": [one.targets[0][0]]} for one in self.functions]

    def _add(self, targets: Any, told: dict[str, Any]) -> Any:
        function = SimpleNamespace(targets=targets, **told)
        self.functions.append(function)
        function.then = lambda **after: self._add([(None, "then")], after)
        return function
