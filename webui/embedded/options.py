"""The WebUI's options: which there are, what is set, config.json.

`data` holds only what was ever set (or came with an extension); everything else answers its default. That
is why restoring after an override forgets keys that were never set: there was nothing to go back to.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, create_model

_REGISTRY = json.loads(Path(__file__).with_name("options.json").read_text())

# How the answer's type follows from an option's default; a default that is empty or zero says nothing.
_TYPES: dict[type, Any] = {bool: bool, int: float, float: float, str: str, list: list}


def _response_model() -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, (default, label) in _REGISTRY["labelled"].items():
        kind = _TYPES[type(default)] if default else Any
        fields[name] = (kind | None, Field(default=default, description=label))
    return create_model("Options", **fields)


OptionsModel = _response_model()


class Options:
    """Option values as attributes. Unknown names raise AttributeError on reading, KeyError on setting."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._saving = threading.Lock()
        self.defaults: dict[str, Any] = {name: entry[0] for name, entry in _REGISTRY["labelled"].items()}
        self.labels: dict[str, str] = {name: entry[1] for name, entry in _REGISTRY["labelled"].items()}
        self.data: dict[str, Any] = {}
        if file.exists():
            self.data.update(json.loads(file.read_text()))
        for name, default in _REGISTRY["of_extensions"].items():
            self.defaults[name] = default
            self.data.setdefault(name, default)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "data" not in self.__dict__:
            raise AttributeError(name)
        if name in self.data:
            return self.data[name]
        if name in self.defaults:
            return self.defaults[name]
        raise AttributeError(f"no option is called {name!r}")

    def set(self, name: str, value: Any) -> bool:
        """True if the value is another one than before. Nothing checks its type: a wrong one shows itself
        when it is used, and in GET /options. Raises KeyError for an unknown name."""
        if self.data.get(name) == value:
            return False
        _ = self.defaults[name]  # the KeyError's text is what the client sees
        self.data[name] = value
        return True

    def save(self) -> None:
        with self._saving:
            whole = self.file.with_suffix(".tmp")
            whole.write_text(json.dumps(dict(self.data), indent=4))
            whole.replace(self.file)

    def answer(self) -> dict[str, Any]:
        """What GET /options says before its types are checked: only what was set."""
        return dict(self.data)
