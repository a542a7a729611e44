"""Make a recording of a real Forge small enough to travel with the tests.

What no test compares goes (response headers but `allow`, times taken), and a timeline, which polls the
same state ten times a second, becomes the sequence of its distinct states per source. Run
`python -m tests.contract.compaction ../shared/forge` to renew tests/contract/recordings.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "recordings"
KEPT_HEADERS = {"allow"}
MEASURED = {"elapsed_s", "eta", "eta_relative"}


def compact(recording: Any) -> Any:
    """The recording without what is measured rather than decided, timelines reduced to distinct states."""
    if isinstance(recording, list):
        return [compact(item) for item in recording]
    if not isinstance(recording, dict):
        return recording
    small: dict[str, Any] = {}
    for key, value in recording.items():
        if key == "timeline":
            small[key] = distinct_states(value)
        elif key == "headers":
            kept = {name: text for name, text in value.items() if name in KEPT_HEADERS}
            small |= {"headers": kept} if kept else {}
        elif key == "elapsed_s":
            continue
        else:
            small[key] = compact(value)
    return small


def distinct_states(timeline: list[list[Any]]) -> list[list[Any]]:
    """`[seconds, source, latency, body]` becomes `[source, body]`, only where the source's body changed;
    an event (`[seconds, text]`) becomes `[text]`."""
    last: dict[str, Any] = {}
    kept: list[list[Any]] = []
    for entry in timeline:
        if len(entry) == 2:
            kept.append([entry[1].split(" (")[0]])
            continue
        _, source, _, body = entry
        body = {key: value for key, value in body.items() if key not in MEASURED}
        if last.get(source) != body:
            last[source] = body
            kept.append([source, body])
    return kept


def main(source: Path) -> None:
    for path in sorted(source.rglob("*.json")):
        target = RECORDINGS / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        small = compact(json.loads(path.read_text()))
        target.write_text(json.dumps(small, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
