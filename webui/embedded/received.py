"""What the server was asked: a list that tests count and wait on."""

from __future__ import annotations

import json
import threading
from typing import Any

KEPT = 10_000
_LONGEST_TEXT = 200  # of a noted request's texts: pictures are not kept

Noted = tuple[str, str, str | None, dict[str, Any] | None]


class Received(list[Noted]):
    """(method, path, task id or None, body or None) of each request, the newest 10,000, oldest first.
    Long texts are cut."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def note(self, method: str, path: str, body: bytes) -> None:
        try:
            parsed = json.loads(body) if body else None
        except ValueError:
            parsed = None
        said = _shortened(parsed) if isinstance(parsed, dict) else None
        task = (said.get("force_task_id") or said.get("id_task")) if said else None
        with self._changed:
            self.append((method, path, task if isinstance(task, str) else None, said))
            if len(self) > KEPT:
                del self[: KEPT // 10]
            self._changed.notify_all()

    def of(self, method: str, path: str) -> list[Noted]:
        return [noted for noted in list(self) if noted[:2] == (method, path)]

    def wait_for(self, method: str, path: str, count: int, timeout: float) -> bool:
        """Wait until `count` such requests have arrived since the start; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.of(method, path)) >= count, timeout)


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:32]}…<{len(value)} characters>"
    if isinstance(value, dict):
        return {name: _shortened(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    return value
