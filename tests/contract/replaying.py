"""Send recorded requests to the embedded WebUI and put its answers into the form of the recordings.

A scenario is a function that sets up what the recordings of one kind found (checkpoints, options, the job
before) and reports, under each recording's name, what ours did in the recording's own shape.
"""

from __future__ import annotations

import base64
import fnmatch
import io
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import requests
from compaction import RECORDINGS
from PIL import Image

from webui.embedded.server import EmbeddedWebUI

# Checkpoints of the recordings, with the hashes that Forge told of them.
HASHES = {
    "tinyA": "9782b056986731323018e54b876bb9491ba9adcdec98049b83f77a9b97d1ae4f",
    "tinyB": "59e122b0ddf7fcf3976e10c78f751b6c9bdf644f0ace7be1b3d2886d100299be",
    "fullA": "307b591c43f07f7503a4f875790a206d40fb58887f506cb3c58d0b6804000e22",
    "fullB": "692ed4fa8766acd52c68b887e8d9615002b419df63b3988e351bea3bda96f993",
}
ROOT = "/srv/webui"
PATIENCE = 60.0  # seconds for anything that should be quick; the machine may be busy

_BASE64 = re.compile(r"(?P<uri>data:image/\w+;base64,)?(?P<head>iVBORw0KGgo[A-Za-z0-9+/]{20,})[A-Za-z0-9+/=]*")


@cache
def recording(name: str) -> Any:
    """A recording by its path without suffix, such as `errors/width0`."""
    return json.loads((RECORDINGS / f"{name}.json").read_text())


def recording_names(pattern: str = "*") -> list[str]:
    names = sorted(str(path.relative_to(RECORDINGS).with_suffix("")) for path in RECORDINGS.rglob("*.json"))
    return [name for name in names if fnmatch.fnmatchcase(name, pattern)]


# -- the common form -----------------------------------------------------------------------------------


def common(value: Any, checkpoints: dict[str, str] | None = None, folder: Path | None = None) -> Any:
    """`value` with what cannot be equal put alike: pictures become their size and first PNG chunk, hashes
    those of the recorded checkpoints, the server's folder the recorded one."""
    text = json.dumps(value)
    for name, sha256 in (checkpoints or {}).items():
        text = text.replace(sha256, HASHES[name]).replace(sha256[:10], HASHES[name][:10])
    if folder is not None:
        text = text.replace(str(folder), ROOT)
    return json.loads(_BASE64.sub(_picture, re.sub(r"\.\.\.<\d+ chars>", "", text)))


def _picture(match: re.Match[str]) -> str:
    head = match["head"]
    data = base64.b64decode(head[: len(head) // 4 * 4])
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    chunk = data[37:41].decode() if len(data) >= 41 else "?"
    return f"{match['uri'] or ''}<png {width}x{height} {chunk}>"


def picture(width: int, height: int, *, face: bool = False, infotext: str | None = None) -> str:
    """A picture to stand for one that the recordings cut short, as base64."""
    if face:
        from skimage.data import astronaut  # a photograph with one face, part of scikit-image

        image = Image.fromarray(astronaut()[:256, 96:352]).resize((width, height))
    else:
        ramp = np.linspace(40, 200, width, dtype=np.uint8)
        image = Image.fromarray(np.repeat(np.tile(ramp, (height, 1))[:, :, None], 3, axis=2))
    file = io.BytesIO()
    if infotext is None:
        image.save(file, "png")
    else:
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_text("parameters", infotext)
        image.save(file, "png", pnginfo=info)
    return base64.b64encode(file.getvalue()).decode()


def substituted(value: Any, *, face: bool = False, infotext: str | None = None) -> Any:
    """A recorded request with whole pictures in the place of those cut short."""
    if isinstance(value, dict):
        return {key: substituted(item, face=face, infotext=infotext) for key, item in value.items()}
    if isinstance(value, list):
        return [substituted(item, face=face, infotext=infotext) for item in value]
    if isinstance(value, str) and re.search(r"\.\.\.<\d+ chars>$", value):
        match = re.search(r"iVBORw0KGgo[A-Za-z0-9+/]+", value)
        assert match, f"no picture: {value:.80}"
        sizes = re.search(r"(\d+)x(\d+)", _picture(re.match(_BASE64, match[0]) or match))
        assert sizes
        made = picture(int(sizes[1]), int(sizes[2]), face=face, infotext=infotext)
        return value[: match.start()] + made
    return value


# -- a server under replay -----------------------------------------------------------------------------


class Client:
    """The embedded WebUI as the recorder saw the real one."""

    def __init__(self, server: EmbeddedWebUI, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def send(
        self, method: str, path: str, body: Any = None, *, timeout: float = PATIENCE, **options: Any
    ) -> dict[str, Any]:
        """One exchange in the recordings' shape, its answer as the server gave it."""
        sent: dict[str, Any] = {"data": body} if isinstance(body, str) else {"json": body}
        if body is None:
            sent = {}
        # A connection of its own each time: after a 500 the server closes the one it came on.
        answer = requests.request(
            method,
            self.server.url + path,
            timeout=timeout,
            headers={"Content-Type": "application/json"} if isinstance(body, str) else None,
            **sent,
            **options,
        )
        try:
            said = answer.json()
        except ValueError:
            said = answer.text
        exchange = {"method": method, "path": path, "request": body, "status": answer.status_code}
        if "allow" in answer.headers:
            exchange["headers"] = {"allow": answer.headers["allow"]}
        return exchange | {"body": said}

    def again(self, recorded: dict[str, Any], **substitutes: Any) -> dict[str, Any]:
        """Send a recorded exchange's request; the exchange, with the request as recorded."""
        ours = self.send(recorded["method"], recorded["path"], substituted(recorded["request"], **substitutes))
        return {**ours, "request": recorded["request"]}

    def get(self, path: str) -> Any:
        return self.send("GET", path)["body"]

    def post(self, path: str, body: Any = None) -> Any:
        return self.send("POST", path, {} if body is None else body)["body"]

    def job(self, **changes: Any) -> dict[str, Any]:
        """A tiny job; the whole exchange."""
        return self.send("POST", "/sdapi/v1/txt2img", {**TINY, **changes})

    def in_background(self, path: str, body: Any) -> Sent:
        return Sent(self, path, body)

    def state(self) -> dict[str, Any]:
        return self.get("/sdapi/v1/progress?skip_current_image=true")["state"]

    def progress_of(self, task: str) -> dict[str, Any]:
        return self.post("/internal/progress", {"id_task": task, "live_preview": False})

    def checkpoints(self) -> dict[str, str]:
        """The sha256 of each checkpoint of the recordings, where the server tells it."""
        known = {model["model_name"]: model["sha256"] for model in self.get("/sdapi/v1/sd-models")}
        return {name: known[name] for name in HASHES if known.get(name)}

    def config(self) -> dict[str, Any]:
        file = self.folder / "config.json"
        return json.loads(file.read_text()) if file.exists() else {}


TINY = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}


class Sent:
    """A request on its way, in a thread of its own."""

    def __init__(self, client: Client, path: str, body: Any) -> None:
        self._answer: dict[str, Any] = {}
        other = Client(client.server, client.folder)
        self._thread = threading.Thread(target=lambda: self._answer.update(other.send("POST", path, body)), daemon=True)
        self._thread.start()

    @property
    def is_answered(self) -> bool:
        return not self._thread.is_alive()

    def answer(self) -> dict[str, Any]:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "no answer came"
        return self._answer


class Replay:
    """One run of a scenario: where its server lives, and what it reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[str, Any] = {}

    @contextmanager
    def server(self, **options: Any) -> Iterator[Client]:
        with EmbeddedWebUI(folder=self.folder, **options) as server:
            yield Client(server, self.folder)

    def report(self, name: str, ours: Any, client: Client | None = None) -> None:
        checkpoints = client.checkpoints() if client else {}
        self.seen[name] = common(ours, checkpoints, self.folder)


# -- scenarios -----------------------------------------------------------------------------------------

Scenario = Callable[[Replay], None]
SCENARIOS: dict[Scenario, tuple[str, ...]] = {}


def replays(*patterns: str) -> Callable[[Scenario], Scenario]:
    """Register a scenario under the recordings that it replays (patterns)."""

    def register(scenario: Scenario) -> Scenario:
        SCENARIOS[scenario] = patterns
        return scenario

    return register


def scenario_of(name: str) -> Scenario | None:
    """The scenario that replays a recording: the one that names it most exactly."""
    fits = [
        (len(pattern.replace("*", "")), number, scenario)
        for number, (scenario, patterns) in enumerate(SCENARIOS.items())
        for pattern in patterns
        if fnmatch.fnmatchcase(name, pattern)
    ]
    return max(fits)[2] if fits else None


class Replays:
    """Every scenario run once, when its first recording is asked for."""

    def __init__(self, make_folder: Callable[[str], Path]) -> None:
        self._make_folder = make_folder
        self._done: dict[Scenario, Replay | BaseException] = {}

    def of(self, name: str) -> Any:
        """What ours did under a recording's name. Raises what the scenario raised."""
        scenario = scenario_of(name)
        assert scenario, f"No scenario replays {name}; add one with @replays"
        if scenario not in self._done:
            replay = Replay(self._make_folder(scenario.__name__))
            try:
                scenario(replay)
                self._done[scenario] = replay
            except Exception as error:
                error.add_note(f"reported before: {sorted(replay.seen)}")
                self._done[scenario] = error
        done = self._done[scenario]
        if isinstance(done, BaseException):
            raise done
        assert name in done.seen, f"{scenario.__name__} should replay {name}, but reported only {list(done.seen)}"
        return done.seen[name]


def copy_checkpoint(folder: Path, source: str, target: str) -> None:
    """Put a copy of a checkpoint beside it, as a user does who adds a file."""
    found = next(folder.rglob(f"{source}.*"))
    shutil.copyfile(found, found.with_stem(target))
