"""bench/results.json: the issue's keys, each with what it was measured against, where, when and how."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.goals import GOALS, Figure
from store.files import write_whole

FILE = Path(__file__).with_name("results.json")


def figure(value: float, against: Mapping[str, float], unit: str, n: int | str, **more: Any) -> Figure:
    """One entry. ``more``: what else belongs to it, such as ``p95``. Numbers are kept to four significant digits."""
    return {
        "value": _short(value),
        "against": {peer: _short(number) for peer, number in against.items()},
        "unit": unit,
        "n": n,
        **{name: _short(one) for name, one in more.items()},
    }


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    return value


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "prefect": importlib.metadata.version("prefect"),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def load(path: Path = FILE) -> dict[str, Figure]:
    """The last results; empty where there are none."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def merged(last: dict[str, Figure], measured: dict[str, Figure], *, command: str, now: datetime) -> dict[str, Figure]:
    """What was measured now, and for the other keys what an earlier run found, marked ``from`` with its date."""
    taken = {"date": now.strftime("%Y-%m-%d %H:%M"), "command": command, "machine": machine()}
    results = {}
    for key in GOALS:
        if key in measured:
            results[key] = measured[key] | {"taken": taken}
        elif key in last:
            results[key] = last[key] | {"from": last[key]["taken"]["date"]}
    return results


def save(results: dict[str, Figure], path: Path = FILE) -> None:
    write_whole(path, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
