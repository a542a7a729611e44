"""Scenarios of single exchanges: endpoints, errors, responses, authorisation, checkpoint switches."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from typing import Any

import requests
from PIL import Image
from replaying import (
    PATIENCE,
    TINY,
    Client,
    Replay,
    copy_checkpoint,
    recording,
    recording_names,
    replays,
    scenario_of,
)


def infotexts(exchange: dict[str, Any]) -> Any:
    """What the recorder noted of a job's answer: its infotexts, or the error's body."""
    body = exchange["body"]
    return json.loads(body["info"])["infotexts"] if exchange["status"] == 200 else body


def models_in(exchange: dict[str, Any]) -> Any:
    return [re.search(r"Model: ([^,]+)", text)[1] for text in infotexts(exchange)]  # type: ignore[index]  # no match fails the test


def select(client: Client, checkpoint: str) -> None:
    """Choose a checkpoint and load it."""
    client.post("/sdapi/v1/options", {"sd_model_checkpoint": checkpoint})
    assert client.job(steps=1)["status"] == 200


# -- endpoints -----------------------------------------------------------------------------------------


@replays("endpoints/*")
def idle_server(replay: Replay) -> None:
    """Every endpoint of a server that has done nothing yet."""
    styles = recording("endpoints/GET_prompt-styles")["body"]
    rows = [[text for text in style.values() if text is not None] for style in styles]
    with (replay.folder / "styles.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(styles[0]), *rows])
    (replay.folder / "config.json").write_text('{"sd_model_checkpoint": "tinyA.safetensors"}')
    with replay.server() as client:
        for name in recording_names("endpoints/*"):
            recorded = recording(name)
            if isinstance(recorded, dict):
                ours = client.again(recorded)
                if "cmd-flags" in name:  # the server's port is the recorded one's 7861 wherever it is told
                    ours = json.loads(json.dumps(ours).replace(str(client.server.port), "7861"))
                replay.report(name, ours)


@replays("endpoints/GET_sd-models")
def hashed_checkpoints(replay: Replay) -> None:
    """Forge remembers hashes over restarts: all but tinyA had been loaded before."""
    with replay.server() as client:
        for name in ("tinyB", "fullA", "fullB"):
            select(client, f"{name}.safetensors")
        replay.report("endpoints/GET_sd-models", client.again(recording("endpoints/GET_sd-models")), client)


@replays("endpoints/GET_cmd-flags_server_without_--port")
def without_port(replay: Replay) -> None:
    name = "endpoints/GET_cmd-flags_server_without_--port"
    with replay.server(port=None) as client:
        replay.report(name, client.again(recording(name)))


@replays("endpoints/server_stop_restart")
def stoppable(replay: Replay) -> None:
    restart, stop, _ = recording("endpoints/server_stop_restart")
    with replay.server(can_stop=True) as client:
        seen: list[Any] = [client.again(restart), client.again(stop)]
        client.server.wait_until_stopped(PATIENCE)
        try:
            requests.get(client.server.url + "/internal/ping", timeout=PATIENCE)
        except requests.ConnectionError as error:
            refused = re.search(r"Connection refused", str(error))
            seen.append("ConnectionRefusedError(111, 'Connection refused')" if refused else str(error))
        replay.report("endpoints/server_stop_restart", seen)


# -- errors --------------------------------------------------------------------------------------------

IN_ORDER_OF_PENDING = (
    "errors/i2i_valid_b64_not_image",
    "errors/i2i_http_local",
    "errors/i2i_filepath",
    "errors/refiner_bad",
)


def observed(client: Client, recorded: dict[str, Any]) -> dict[str, Any]:
    """One bad request, and what the server says of itself afterwards."""
    ours: dict[str, Any] = {"r": client.again(recorded["r"])}
    if "after_state" in recorded:
        ours["after_state"] = client.state()
        ours["after_pending"] = client.get("/internal/pending-tasks")
        ours["after_internal"] = None
        if recorded["after_internal"]:
            task = client.progress_of(recorded["r"]["request"]["force_task_id"])
            ours["after_internal"] = {key: task[key] for key in recorded["after_internal"]}
    if "options_after_status" in recorded:
        options = client.send("GET", "/sdapi/v1/options")
        ours["options_after_status"] = options["status"]
        ours["sd_model_checkpoint_after"] = (
            options["body"]["sd_model_checkpoint"] if options["status"] == 200 else options
        )
    return ours


def leave_state(client: Client, recorded: dict[str, Any]) -> None:
    """Run the job whose traces the recording shows: a rejected request leaves the state of the one before."""
    after = recorded.get("after_state")
    if after:
        client.job(steps=after["sampling_steps"])
        if after["job_no"] == 0 and not after["job"]:
            client.job(steps=after["sampling_steps"], width=0)


@replays("errors/*")
def bad_requests(replay: Replay) -> None:
    names = [name for name in recording_names("errors/*") if scenario_of(name) is bad_requests]
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        for name in names:
            recorded = recording(name)
            if isinstance(recorded, dict) and "r" in recorded:
                leave_state(client, recorded)
                replay.report(name, observed(client, recorded), client)
            elif isinstance(recorded, dict) and "path" in recorded:
                replay.report(name, client.again(recorded), client)


@replays(*IN_ORDER_OF_PENDING)
def bad_init_images(replay: Replay) -> None:
    """A bad init image leaves its task pending for good, so these build on each other."""
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        client.send("POST", "/sdapi/v1/img2img", {"init_images": ["nope"], "force_task_id": "task(e-b64)"})
        for name in IN_ORDER_OF_PENDING:
            recorded = recording(name)
            leave_state(client, recorded)
            ours = observed(client, recorded)
            # ids are drawn at random where the request names none
            ours["after_pending"]["tasks"] = [
                then if re.fullmatch(r"task\(img2img-[A-Z0-9]{7}\)", now) else now
                for now, then in zip(ours["after_pending"]["tasks"], recorded["after_pending"]["tasks"], strict=False)
            ]
            replay.report(name, ours, client)


@replays("errors/after_all_ok", "errors/huge_8192")
def poisoned_options(replay: Replay) -> None:
    """Recorded while a wrongly typed CLIP skip had stuck and bad init images had left their ids pending."""
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        recorded = recording("errors/after_all_ok")
        for task in recorded["after_pending"]["tasks"]:
            bad = {"init_images": ["aGVsbG8="], "force_task_id": task}
            client.send("POST", "/sdapi/v1/img2img", bad)
        client.job(steps=2, width=0)
        client.post("/sdapi/v1/options", {"CLIP_stop_at_last_layers": "two"})
        for name in ("errors/after_all_ok", "errors/huge_8192"):
            replay.report(name, observed(client, recording(name)), client)


@replays("errors/empty_body", "errors/not_an_object")
def default_job(replay: Replay) -> None:
    """`{}` starts a job of 512×512 and 50 steps; both recordings look at it in the middle."""
    recorded = recording("errors/empty_body")
    done = recorded["after_state"]["sampling_step"] + 1  # the state names the step in work
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        client.server.steps.hold()
        running = client.in_background("/sdapi/v1/txt2img", {})
        client.server.steps.advance(done)
        client.server.steps.wait_for(done, PATIENCE)
        assert not running.is_answered
        unanswered = {**recorded["r"], "status": None}
        ours = {"r": unanswered, "after_state": client.state()}
        ours |= {"after_pending": client.get("/internal/pending-tasks"), "after_internal": None}
        replay.report("errors/empty_body", ours, client)
        replay.report("errors/not_an_object", observed(client, recording("errors/not_an_object")), client)
        client.post("/sdapi/v1/interrupt")
        client.server.steps.release()
        running.answer()


@replays("errors/options_*")
def bad_options(replay: Replay) -> None:
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        settled = {"show_progress_type": "Approx NN", "show_progress_every_n_steps": 10}
        client.post("/sdapi/v1/options", {**settled, "live_previews_enable": True, "eta_noise_seed_delta": 0})
        for name in (
            "errors/options_bad_ckpt",
            "errors/options_ckpt_substring",
            "errors/options_unknown_key",
            "errors/options_bad_type",
            "errors/options_ckpt_null",
            "errors/options_list_body",
        ):
            replay.report(name, observed(client, recording(name)), client)


@replays("errors/options_partial_apply")
def partly_applied(replay: Replay) -> None:
    recorded = recording("errors/options_partial_apply")
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        ours = {"post": client.again(recorded["post"])}
        ours["options_after"] = client.get("/sdapi/v1/options")["sd_model_checkpoint"]
        ours["configjson"] = client.config().get("sd_model_checkpoint")
        ours["next_infotext"] = infotexts(client.job())
        replay.report("errors/options_partial_apply", ours, client)


@replays("errors/override_bad_type", "errors/plain_after_override_bad_type")
def bad_override(replay: Replay) -> None:
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        client.post("/sdapi/v1/options", {"eta_noise_seed_delta": 0})  # so that config.json has the key
        recorded = recording("errors/override_bad_type")
        leave_state(client, recorded)
        replay.report("errors/override_bad_type", observed(client, recorded), client)
        plain = recording("errors/plain_after_override_bad_type")
        replay.report("errors/plain_after_override_bad_type", observed(client, plain), client)


def with_config(client: Client, entry: dict[str, Any]) -> dict[str, Any]:
    """One step of the override_* recordings: send it, then look at options and config.json."""
    is_option = set(entry["request"]) <= {"sd_model_checkpoint", "CLIP_stop_at_last_layers"}
    sent = client.send("POST", "/sdapi/v1/" + ("options" if is_option else "txt2img"), entry["request"])
    ours = {"label": entry["label"], "request": entry["request"], "status": sent["status"]}
    ours["body"] = sent["body"] if is_option else infotexts(sent)
    ours["get_options_status"] = client.send("GET", "/sdapi/v1/options")["status"]
    ours["config_json_has"] = client.config().get("CLIP_stop_at_last_layers", "<absent>")
    if "config_json_exists" in entry:
        ours["config_json_exists"] = bool(client.config())
    return ours


@replays("errors/override_leak_fresh_datadir_no_restart")
def override_sticks(replay: Replay) -> None:
    name = "errors/override_leak_fresh_datadir_no_restart"
    with replay.server() as client:
        replay.report(name, [with_config(client, entry) for entry in recording(name)], client)


@replays("errors/override_poison_after_restart")
def override_poisons(replay: Replay) -> None:
    name = "errors/override_poison_after_restart"
    with replay.server() as client:
        select(client, "tinyB.safetensors")
    with replay.server() as client:
        replay.report(name, [with_config(client, entry) for entry in recording(name)], client)


@replays("errors/override_settings_leak")
def override_leaks(replay: Replay) -> None:
    name = "errors/override_settings_leak"
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        seen: list[dict[str, Any]] = []
        for entry in recording(name):
            ours: dict[str, Any] = {"label": entry["label"]}
            if "path" in entry:
                ours |= client.again(entry)
                if entry["path"].endswith("txt2img") and isinstance(entry["body"], str):
                    ours["body"] = str(ours["body"])
                if "infotext" in entry:
                    again = client.send("POST", entry["path"], entry["request"])
                    ours["infotext"] = infotexts(again)
            if "api_vs_configjson" in entry:
                options, config = client.get("/sdapi/v1/options"), client.config()
                ours["api_vs_configjson"] = {
                    key: [options[key], config.get(key, "<absent>")] for key in entry["api_vs_configjson"]
                }
            seen.append(ours)
        replay.report(name, seen, client)


# -- responses and authorisation -----------------------------------------------------------------------


@replays("responses/*")
def responses(replay: Replay) -> None:
    infotext = recording("responses/png_chunk")["parameters"]
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        ours_hash = client.checkpoints()["tinyA"][:10]
        ours_infotext = re.sub(r"Model hash: \w+", f"Model hash: {ours_hash}", infotext)
        for name in recording_names("responses/*"):
            recorded = recording(name)
            if "path" in recorded:
                carried = ours_infotext if "png_info" in name else None
                replay.report(name, client.again(recorded, infotext=carried), client)
        batch = {**TINY, "negative_prompt": "dog", "seed": 100, "batch_size": 2, "n_iter": 2}
        answer = client.send("POST", "/sdapi/v1/txt2img", batch)["body"]
        replay.report("responses/info_parsed", json.loads(answer["info"]), client)
        first = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
        replay.report("responses/png_chunk", dict(first.info), client)


@replays("auth/*")
def authorisation(replay: Replay) -> None:
    credentials: dict[str, dict[str, Any]] = {
        "noauth": {},
        "wrong": {"auth": ("user", "wrong")},
        "bearer": {"headers": {"Authorization": "Bearer abc"}},
        "ok": {"auth": ("user", "secret")},
    }
    # The recorder kept of long bodies only how long they were.
    bodies: dict[tuple[str, str], Any] = {("POST", "/sdapi/v1/txt2img"): {"prompt": 5}}
    bodies["POST", "/internal/progress"] = {"id_task": "nope"}
    seen = []
    with replay.server(api_auth="user:secret") as client:
        for entry in recording("auth/matrix"):
            sent = requests.request(
                entry["method"],
                client.server.url + entry["path"],
                json=bodies.get((entry["method"], entry["path"])),
                timeout=PATIENCE,
                **credentials[entry["label"]],
            )
            ours = {**entry, "status": sent.status_code}
            if not str(entry["body"]).endswith("characters, as without auth>"):
                ours["body"] = sent.json()
            seen.append(ours)
        replay.report("auth/matrix", seen, None)


# -- checkpoints ---------------------------------------------------------------------------------------


@replays("checkpoint-switch/new_file")
def new_file(replay: Replay) -> None:
    def tiny_c() -> list[Any]:
        return [m for m in client.get("/sdapi/v1/sd-models") if m["model_name"] == "tinyC"]

    with replay.server() as client:
        select(client, "tinyB.safetensors")
        copy_checkpoint(replay.folder, "tinyB", "tinyC")
        post = recording("checkpoint-switch/new_file")[1][1]
        override = {"override_settings": {"sd_model_checkpoint": "tinyC.safetensors"}}
        seen: list[list[Any]] = [["before refresh", tiny_c()], ["POST before refresh", client.again(post)]]
        seen.append(["override before refresh", [model_and_hash(client.job(**override))]])
        client.post("/sdapi/v1/refresh-checkpoints")
        seen.append(["after refresh (never loaded)", tiny_c()])
        client.job(**override)
        seen.append(["after first load", tiny_c()])
        replay.report("checkpoint-switch/new_file", seen, client)


def model_and_hash(exchange: dict[str, Any]) -> str:
    (text,) = infotexts(exchange)
    found = re.search(r"Model hash: (\w+), Model: ([^,]+)", text)
    assert found
    return f"{found[2]}#{found[1]}"


@replays("checkpoint-switch/sequence")
def switches(replay: Replay) -> None:
    seen = []
    with replay.server() as client:
        select(client, "tinyA.safetensors")
        for entry in recording("checkpoint-switch/sequence"):
            label = entry["label"]
            request = entry["request"]
            # What the recorder did between the steps without noting it.
            if label.startswith("options name form"):
                select(client, "tinyB.safetensors")
                request = renamed(client, request)
            elif label.startswith("override name form 'tinyA'"):
                select(client, "tinyB.safetensors")
            elif label == "gen" and seen and seen[-1]["label"].startswith("override name form"):
                client.post("/sdapi/v1/options", {"sd_model_checkpoint": "tinyA.safetensors"})
            if "override_settings" in request:
                overridden = renamed(client, request["override_settings"])
                request = {**request, "override_settings": overridden}
            sent = client.send("POST", entry["path"], request)
            is_job = entry["path"].endswith("txt2img")
            ours = {key: entry[key] for key in ("label", "request", "path")}
            ours |= {"status": sent["status"], "model_in_infotext": models_in(sent) if is_job else None}
            ours["body"] = "<image response>" if is_job and sent["status"] == 200 else sent["body"]
            if "opt_ckpt" in entry:
                options = client.get("/sdapi/v1/options")
                ours["opt_ckpt"] = options["sd_model_checkpoint"]
                ours["opt_hash"] = options["sd_checkpoint_hash"][:10]
                ours["cfg_ckpt"] = client.config().get("sd_model_checkpoint")
            seen.append(ours)
        replay.report("checkpoint-switch/sequence", seen, client)


def renamed(client: Client, options: dict[str, Any]) -> dict[str, Any]:
    """The options with our hash of tinyA in the place of the recorded one."""
    sha256 = client.checkpoints().get("tinyA", "")
    name = str(options["sd_model_checkpoint"])
    recorded = "9782b056986731323018e54b876bb9491ba9adcdec98049b83f77a9b97d1ae4f"
    name = name.replace(recorded, sha256).replace(recorded[:10], sha256[:10])
    return {**options, "sd_model_checkpoint": name}


@replays("checkpoint-switch/switch_timings_1step_64px")
def alternating(replay: Replay) -> None:
    name = "checkpoint-switch/switch_timings_1step_64px"
    with replay.server() as client:
        seen = {}
        for kind, recorded in recording(name).items():
            asked = [{"sd_model_checkpoint": f"{model}.safetensors"} for model in recorded["seq"]]
            jobs = [client.job(steps=1, override_settings=override) for override in asked]
            seen[kind] = {"seq": [models_in(job)[0] for job in jobs], "times": recorded["times"]}
        replay.report(name, seen, client)


@replays("checkpoint-switch/chimera_summary")
def chimera(replay: Replay) -> None:
    """A switch in the middle of an n_iter job: pictures of both models under the first one's name."""

    def pixels(exchange: dict[str, Any]) -> list[str]:
        images = (Image.open(io.BytesIO(base64.b64decode(data))) for data in exchange["body"]["images"])
        return [hashlib.sha256(image.tobytes()).hexdigest()[:12] for image in images]

    job = {**TINY, "steps": 4, "n_iter": 3}
    with replay.server() as client:
        seen: dict[str, Any] = {}
        for label, checkpoint in (("ref_A", "tinyA"), ("ref_A_repeat", "tinyA"), ("ref_B", "tinyB")):
            select(client, f"{checkpoint}.safetensors")
            seen[label] = pixels(client.send("POST", "/sdapi/v1/txt2img", job))
        select(client, "tinyA.safetensors")
        client.server.steps.hold()
        running = client.in_background("/sdapi/v1/txt2img", job)
        client.server.steps.advance(2)
        client.server.steps.wait_for(2, PATIENCE)
        client.post("/sdapi/v1/options", {"sd_model_checkpoint": "tinyB.safetensors"})
        client.server.steps.release()
        mixed = running.answer()
        seen["mixed_pixels"] = pixels(mixed)
        found = [re.search(r"Model hash: (\w+), Model: ([^,]+)", text) for text in infotexts(mixed)]
        seen["mixed_infotext_models"] = [f"{match[2]}#{match[1]}" for match in found if match]
        seen["mixed_info_sd_model_name"] = json.loads(mixed["body"]["info"])["sd_model_name"]
        seen["options_after"] = client.get("/sdapi/v1/options")["sd_model_checkpoint"]
        replay.report("checkpoint-switch/chimera_summary", seen, client)


# -- queues --------------------------------------------------------------------------------------------


@replays("progress/finished_ring_16")
def finished_ring(replay: Replay) -> None:
    recorded = recording("progress/finished_ring_16")
    with replay.server() as client:
        for number in recorded:
            client.job(steps=1, force_task_id=f"task(ring-{number})")
        seen = {n: client.progress_of(f"task(ring-{n})")["completed"] for n in recorded}
        replay.report("progress/finished_ring_16", seen)


THREADS = 40  # that serve requests, as in the real one


@replays("progress/threadpool_exhaustion")
def full_threadpool(replay: Replay) -> None:
    """Held at the first step, 30 waiting requests leave the server free to answer, 60 do not."""
    seen = []
    with replay.server() as client:
        for run in recording("progress/threadpool_exhaustion"):
            client.server.steps.hold()
            sent = [
                client.in_background("/sdapi/v1/txt2img", {**TINY, "steps": 1, "force_task_id": f"t-{n}"})
                for n in range(run["n"])
            ]
            client.server.requests.wait_for("POST", "/sdapi/v1/txt2img", run["n"], PATIENCE)
            try:
                client.send("GET", "/sdapi/v1/progress", timeout=1.0)
                latency = 0.0
            except requests.Timeout:
                latency = 8.0
            client.server.steps.release()
            answers = [request.answer() for request in sent]
            ours = {"n": run["n"], "probes": [[0.0, latency]]}
            ours["results"] = [[number, 0.0, answer["status"]] for number, answer in enumerate(answers)]
            seen.append(ours)
        replay.report("progress/threadpool_exhaustion", seen)


@replays("overhead/back_to_back")
def back_to_back(replay: Replay) -> None:
    """Times are the bench's; here, that as many answers come as jobs were sent, one by one and at once."""
    seen: dict[str, Any] = {}
    with replay.server() as client:
        for kind, recorded in recording("overhead/back_to_back").items():
            if "n" in recorded:
                size = int(kind.split("px")[0])
                jobs = [client.job(width=size, height=size, steps=1) for _ in range(recorded["n"])]
                seen[kind] = {"n": sum(job["status"] == 200 for job in jobs)}
            else:
                sent = [client.in_background("/sdapi/v1/txt2img", TINY) for _ in range(12)]
                answers = [request.answer() for request in sent]
                seen[kind] = {"completion_order": [n for n, a in enumerate(answers) if a["status"] == 200]}
        replay.report("overhead/back_to_back", seen)
