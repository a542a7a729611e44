"""Scenarios of whole runs: the sequence of states that clients saw while jobs ran."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from typing import Any

from replaying import (
    PATIENCE,
    TINY,
    Client,
    Replay,
    Sent,
    common,
    copy_checkpoint,
    recording,
    recording_names,
    replays,
    substituted,
)
from scenarios_exchanges import select
from watching import Watch, comparable, first_missing, recorded_sequences

PREVIEWS = {"ApproxNN": "Approx NN", "Approxcheap": "Approx cheap", "Full": "Full"}


@replays("progress/*", "interrupt/*", "responses/img2img_progress*")
def timelines(replay: Replay) -> None:
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        names = [*recording_names("progress/*"), *recording_names("interrupt/*")]
        for name in [*names, *recording_names("responses/img2img_progress*")]:
            recorded = recording(name)
            if isinstance(recorded, dict) and "timeline" in recorded:
                client.post("/sdapi/v1/options", preview_options(name))
                replay.report(name, replayed(client, recorded), client)


@replays("checkpoint-switch/*")
def timelines_of_switches(replay: Replay) -> None:
    with replay.server(load_time=0.05) as client:
        select(client, "tinyB.safetensors")
        copy_checkpoint(replay.folder, "tinyB", "tinyC")
        client.post("/sdapi/v1/refresh-checkpoints")
        for name in recording_names("checkpoint-switch/*"):
            recorded = recording(name)
            if isinstance(recorded, dict) and "timeline" in recorded:
                client.job(steps=1, override_settings={"sd_model_checkpoint": "fullA"})
                client.job(steps=1, override_settings={"sd_model_checkpoint": "fullB"})
                select(client, "tinyA.safetensors")
                replay.report(name, replayed(client, recorded), client)


@replays("adetailer/*")
def adetailer(replay: Replay) -> None:
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        for name in recording_names("adetailer/*"):
            recorded = recording(name)
            if "timeline" in recorded:
                replay.report(name, replayed(client, recorded, face=name != "adetailer/no_face"), client)
            else:
                replay.report(name, client.again(recorded), client)


def preview_options(name: str) -> dict[str, Any]:
    """The preview settings that a recording's name tells; Forge's defaults for the others."""
    match = re.search(r"preview_(ApproxNN|Approxcheap|Full)_n(\d+)", name)
    kind, every = (PREVIEWS[match[1]], int(match[2])) if match else ("Approx NN", 10)
    return {
        "show_progress_type": kind,
        "show_progress_every_n_steps": every,
        "live_previews_enable": "disabled" not in name,
    }


def replayed(client: Client, recorded: dict[str, Any], *, face: bool = False) -> dict[str, Any]:
    """The recording as ours: its own timeline if ours contains it, else what ours showed in its place."""
    timeline = recorded["timeline"]
    expected = recorded_sequences(timeline)
    if first := next((entry[1] for entry in timeline if entry[0] == "sdapi"), None):
        leave(client, first["state"])
    watch = Watch(client, sorted(expected), with_image=recorded["name"].endswith("skipfalse"))
    script = Script(client, recorded, watch, face=face)
    with watch:
        watch.look()
        script.start()
        answers = script.finish()
        watch.look()
    missing = {
        source: {"not seen": lost, "seen": watch.seen[source]}
        for source, sequence in expected.items()
        if (lost := first_missing(sequence, watch.seen[source])) is not None
    }
    if strange := strange_states(expected.get("sdapi", []), watch.seen.get("sdapi", [])):
        missing["sdapi"] = {"never recorded": strange}
    ours = {key: recorded[key] for key in ("name", "jobs")}
    ours["timeline"] = missing or timeline
    ours["responses"] = [
        {**answer, "request": then["request"]} for answer, then in zip(answers, recorded["responses"], strict=True)
    ]
    return ours


def strange_states(recorded: list[Any], ours: list[Any]) -> list[Any]:
    """Our states that differ from all recorded ones in more than how far they are, or go beyond the last
    step (which is never told). The recorder looked every 100 ms: it may have missed a short state at a job's begin."""

    def kind(state: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(state[key] for key in ("job", "job_count", "skipped", "interrupted"))

    def begins(state: dict[str, Any]) -> bool:
        at_zero = state["job_no"] == 0 and state["sampling_step"] == 0
        return state["job"].startswith("scripts_") and at_zero

    known = {kind(answer["state"]) for answer in recorded if isinstance(answer, dict)}
    states = [answer["state"] for answer in ours if isinstance(answer, dict)]
    beyond = [state for state in states if 0 < state["sampling_steps"] <= state["sampling_step"]]
    return beyond + [state for state in states if known and kind(state) not in known and not begins(state)]


def leave(client: Client, state: dict[str, Any]) -> None:
    """Run the job whose traces the recording begins with."""
    client.job(steps=state["sampling_steps"], n_iter=max(1, state["job_no"]))
    if state["interrupted"]:
        client.post("/sdapi/v1/interrupt")


@dataclass
class Cue:
    """When the recorder sent something: after it saw `seen` (None: before it saw any job). An interrupt or a
    skip came while the step was in work that is shown next, `during`; it is finished all the same."""

    text: str
    seen: dict[str, Any] | None
    at_begin: bool = False
    during: int | None = None

    @property
    def is_before_sampling(self) -> bool:
        """Sent while the job still loaded its model or prepared its prompts."""
        return self.at_begin or (self.seen is not None and self.seen["state"]["job_count"] == -1)

    def has_come(self, progress: dict[str, Any]) -> bool:
        if self.at_begin:  # recorded after the job had looked at its flags for the first time
            return progress["state"]["job_count"] > 0
        return self.seen == progress


class Script:
    """What the recorder sent and when: its jobs, and the events while they ran."""

    def __init__(self, client: Client, recorded: dict[str, Any], watch: Watch, *, face: bool) -> None:
        self._client = client
        self._watch = watch
        self._jobs = [(job["path"], substituted(job["body"], face=face)) for job in recorded["jobs"]]
        self._jobs_sent: dict[int, Sent] = {}
        self._waiting: dict[str, Sent] = {}
        self._answers: list[str] = []
        self._cues = cues_of(recorded["timeline"])
        self._next_step: Cue | None = None
        self._is_loading = False
        self._told = [entry[0] for entry in recorded["timeline"] if entry[0].startswith("<< event")]
        watch.between = self._on_look
        steps = client.server.steps
        self._after_step = steps.after_step
        steps.after_step = self._in_step  # type: ignore[method-assign]  # watched
        self._load_model = client.server.engine.load_model
        client.server.engine.load_model = self._in_load  # type: ignore[method-assign]  # watched

    def start(self) -> None:
        """Send what the recorder sent before it saw a job begin."""
        while self._cues and self._cues[0].seen is None and not self._cues[0].at_begin:
            self._send(self._cues.pop(0).text)

    def finish(self) -> list[dict[str, Any]]:
        """Wait for every answer; those of the jobs, in order. Fails if an event was never sent or told
        something else than recorded."""
        answers = [self._jobs_sent[number].answer() for number in range(len(self._jobs))]
        self._client.server.steps.after_step = self._after_step  # type: ignore[method-assign]  # watched
        self._client.server.engine.load_model = self._load_model  # type: ignore[method-assign]  # watched
        assert not self._cues and not self._next_step, f"never reached: {self._cues}"
        for event, sent in self._waiting.items():
            self._tell(event, sent.answer())
        assert sorted(self._answers) == sorted(self._told)
        return answers

    def _on_look(self, progress: dict[str, Any]) -> None:
        while self._cues and self._cues[0].is_before_sampling == self._is_loading and self._cues[0].has_come(progress):
            cue = self._cues.pop(0)
            if cue.during is None:
                self._send(cue.text)
            else:
                self._next_step = cue

    def _in_load(self) -> Any:
        """The job wants its model: before it starts, and again for each picture."""
        self._is_loading = True
        self._watch.look()
        self._is_loading = False
        return self._load_model()

    def _in_step(self, started: float) -> None:
        """A step has been made and is not shown yet."""
        if self._next_step and self._next_step.during == self._client.server.steps.done:
            cue, self._next_step = self._next_step, None
            self._send(cue.text)
        self._after_step(started)

    def _send(self, text: str) -> None:
        self._watch.mark(text)
        if job := re.match(r">> send job(\d+)", text):
            number = int(job[1])
            self._jobs_sent[number] = self._client.in_background(*self._jobs[number])
            if number > 0:  # the running job stands still; go on when the next one waits behind it
                assert self._client.server.job_queue.wait_for_waiting(number, PATIENCE)
                self._watch.look()
            return
        event = text.removeprefix(">> event ")
        if event == "refresh-checkpoints":  # waits behind the job
            self._waiting[event] = self._client.in_background("/sdapi/v1/refresh-checkpoints", {})
        else:
            self._tell(event, self._exchange(event))
            self._watch.look()

    def _exchange(self, event: str) -> dict[str, Any]:
        if option := re.match(r"POST options (\w+)", event):
            chosen = {"sd_model_checkpoint": f"{option[1]}.safetensors"}
            return self._client.send("POST", "/sdapi/v1/options", chosen)
        if event == "GET options":
            exchange = self._client.send("GET", "/sdapi/v1/options")
            told = common(exchange["body"], self._client.checkpoints())
            summary = {"ckpt": told["sd_model_checkpoint"], "hash": told["sd_checkpoint_hash"][:10]}
            return {**exchange, "body": summary}
        if event == "sd-models":
            exchange = self._client.send("GET", "/sdapi/v1/sd-models")
            return {**exchange, "body": len(exchange["body"])}
        return self._client.send("POST", f"/sdapi/v1/{event}", {})

    def _tell(self, event: str, exchange: dict[str, Any]) -> None:
        self._answers.append(f"<< event {event}: {exchange['status']} {json.dumps(exchange['body'])}")


def cues_of(timeline: list[list[Any]]) -> list[Cue]:
    """Each request that the recorder sent, in order."""
    cues = []
    seen = None
    has_begun = False
    for number, entry in enumerate(timeline):
        if len(entry) == 2:
            if entry[0] == "sdapi" and entry[1]["state"]["job"]:
                seen = comparable(entry[1])
            has_begun |= bool(entry[1].get("active"))
        elif entry[0].startswith((">> send", ">> event")):
            cue = Cue(entry[0], seen, at_begin=has_begun and seen is None)
            if seen and entry[0] in (">> event interrupt", ">> event skip"):
                cue.during = last_step_shown(timeline[number:], seen["state"])
            cues.append(cue)
    return cues


def last_step_shown(rest: list[list[Any]], before: dict[str, Any]) -> int | None:
    """The step that was in work when a flag was raised; None if no step was."""
    states = [entry[1]["state"] for entry in rest if entry[0] == "sdapi" and len(entry) == 2]
    steps = [state["sampling_step"] for state in states if state["job_no"] == before["job_no"] and state["job"]]
    last = max(steps, default=0)
    return last if last > before["sampling_step"] else None


# -- a client that leaves ------------------------------------------------------------------------------


@replays("interrupt/client_disconnect")
def disconnect(replay: Replay) -> None:
    """Two clients leave, one with a running job and one with a queued one; neither job is cancelled."""
    name = "interrupt/client_disconnect"
    recorded = recording(name)
    tasks = list(recorded[0]["internal"])
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        client.job(steps=recorded[0]["steps"])
        watch = Watch(client, ["sdapi", "pending", *(f"internal:{task}" for task in tasks)], with_image=False)
        clients: list[socket.socket] = []

        def come_and_go(progress: dict[str, Any]) -> None:
            state = progress["state"]
            if state["job_count"] == 1 and len(clients) == 1:
                clients.append(send_raw(client, {**TINY, "steps": 10, "force_task_id": tasks[1]}))
                assert client.server.job_queue.wait_for_waiting(1, PATIENCE)
                watch.look()
                clients[0].close()
            elif state["sampling_step"] == 1:
                clients[1].close()

        watch.between = come_and_go
        with watch:
            clients.append(send_raw(client, {**TINY, "steps": 20, "force_task_id": tasks[0]}))
            assert client.server.job_queue.wait_for_job(client.server.job_queue.begun + 1, PATIENCE)
            assert client.server.job_queue.wait_until_idle(PATIENCE)
            watch.look()
        missing = {
            source: lost
            for source in watch.seen
            if (lost := first_missing(parts(recorded, source), shown(watch.seen[source], source))) is not None
        }
        replay.report(name, missing or recorded)


def send_raw(client: Client, body: dict[str, Any]) -> socket.socket:
    """A txt2img request whose client never reads the answer."""
    address = client.server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((address[0], int(address[1])))
    content = json.dumps(body).encode()
    head = (
        "POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: webui\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def parts(recorded: list[dict[str, Any]], source: str) -> list[Any]:
    """What one source said in the recorder's summaries, without repeats."""
    said = []
    for entry in recorded:
        if source == "sdapi":
            part = {key: entry[key] for key in ("step", "steps", "job", "job_count", "interrupted")}
        elif source == "pending":
            part = entry["pending"]
        else:
            part = dict(entry["internal"][source.removeprefix("internal:")])
        if not said or said[-1] != part:
            said.append(part)
    return said


def shown(seen: list[dict[str, Any]], source: str) -> list[Any]:
    """Our answers, cut down to what the recorder kept."""
    if source == "sdapi":
        states = [answer["state"] for answer in seen]
        renamed = {"step": "sampling_step", "steps": "sampling_steps"}
        kept = ("step", "steps", "job", "job_count", "interrupted")
        return [{key: state[renamed.get(key, key)] for key in kept} for state in states]
    if source == "pending":
        return seen
    kept = ("active", "queued", "completed", "progress", "textinfo")
    return [{key: answer[key] for key in kept} for answer in seen]
