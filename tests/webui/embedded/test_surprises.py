"""A real WebUI's ways of answering 200 with something else than what was asked, and of being away."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import threading
from typing import Any

import pytest
import requests
from PIL import Image, ImageChops
from processes import start_process
from talking import PATIENCE, SMALL

from tests.waiting import until
from webui.embedded.checkpoints import write_checkpoint
from webui.embedded.server import EmbeddedWebUI


@pytest.fixture(scope="module")
def shared_server():
    with EmbeddedWebUI(faults=True) as running:
        yield running


@pytest.fixture(autouse=True)
def disarmed(webui):
    yield
    webui.server.faults.disarm()


def arm(webui, **fault: Any) -> int:
    answer = webui.post("/faults", fault)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def wait_until_fired(webui, number: int) -> None:
    def fired() -> bool:
        return any(one["id"] == number and one["fired"] for one in webui.get("/faults").json())

    until("the fault has fired", fired)


def go_on(webui, number: int) -> None:
    requests.delete(f"{webui.server.url}/faults/{number}", timeout=PATIENCE).raise_for_status()


def using(checkpoint: str, **more: Any) -> dict[str, Any]:
    return {"override_settings": {"sd_model_checkpoint": checkpoint, **more}}


def picture(answer: requests.Response) -> Image.Image:
    (encoded,) = answer.json()["images"]
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


# -- the wrong model under the right name --------------------------------------------------------------


def test_a_switch_during_a_load_paints_the_other_model_under_the_name_that_was_asked_for(webui) -> None:
    oil, ink = (webui.generate(**using(name)) for name in ("oil", "ink"))
    hang = arm(webui, kind="load hang", asked="oil*")
    job = webui.in_background(**using("oil"))
    wait_until_fired(webui, hang)
    assert webui.post("/sdapi/v1/options", {"sd_model_checkpoint": "ink"}).ok
    go_on(webui, hang)
    answer = job.result(PATIENCE)
    assert answer.status_code == 200
    info, honest = json.loads(answer.json()["info"]), json.loads(oil.json()["info"])
    assert [info[name] for name in ("sd_model_name", "sd_model_hash")] == ["oil", honest["sd_model_hash"]]
    assert info["infotexts"] == honest["infotexts"]
    assert answer.json()["images"] != oil.json()["images"]
    assert picture(answer).tobytes() == picture(ink).tobytes()
    loaded = webui.get("/sdapi/v1/options").json()["sd_checkpoint_hash"]
    ink_file = webui.server.engine.checkpoints_folder / "ink.safetensors"
    assert loaded == hashlib.sha256(ink_file.read_bytes()).hexdigest(), "this alone tells the truth"


def test_a_switch_while_the_sampler_runs_waits_for_the_next_job(webui) -> None:
    oil = webui.generate(**using("oil"))
    webui.server.steps.hold()
    job = webui.in_background(**using("oil", CLIP_stop_at_last_layers=1))
    webui.server.steps.advance(1)
    assert webui.server.steps.wait_for(1, PATIENCE)
    webui.post("/sdapi/v1/options", {"sd_model_checkpoint": "ink"})
    webui.server.steps.release()
    assert picture(job.result(PATIENCE)).tobytes() == picture(oil).tobytes()


# -- interrupts ----------------------------------------------------------------------------------------


def test_a_repeated_interrupt_hits_the_next_job_whoever_sent_it(webui) -> None:
    whole = webui.generate(steps=20)
    webui.server.steps.hold()
    ours = webui.in_background(steps=20, force_task_id="task(ours)")
    webui.server.steps.advance(2)
    assert webui.server.steps.wait_for(2, PATIENCE)
    webui.post("/sdapi/v1/interrupt")
    assert ours.result(PATIENCE).ok
    webui.server.steps.hold()
    stranger = webui.in_background(steps=20, force_task_id="task(stranger)")
    webui.server.steps.advance(3)
    assert webui.server.steps.wait_for(3, PATIENCE)
    webui.post("/sdapi/v1/interrupt")
    webui.server.steps.release()
    assert picture(stranger.result(PATIENCE)).tobytes() != picture(whole).tobytes()


def test_an_interrupt_during_a_load_leaves_no_picture_at_all(webui) -> None:
    webui.generate(**using("ink"))
    hang = arm(webui, kind="load hang")
    job = webui.in_background(**using("oil"))
    wait_until_fired(webui, hang)
    webui.post("/sdapi/v1/interrupt")
    go_on(webui, hang)
    answer = job.result(PATIENCE)
    assert (answer.status_code, answer.json()["images"]) == (200, [])


# -- upscalers and LoRAs -------------------------------------------------------------------------------


@pytest.mark.parametrize("background", ["white", "black", "grey", None])
def test_an_upscaler_without_its_weights_is_lanczos_under_its_name(webui, background: str | None) -> None:
    source = Image.new("RGB", (24, 17), background) if background else picture(webui.generate())
    expected = source.resize((source.width * 2, source.height * 2), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    source.save(file, "png")
    body = {"image": base64.b64encode(file.getvalue()).decode(), "upscaling_resize": 2, "upscaler_1": "R-ESRGAN 4x+"}

    def upscaled() -> Image.Image:
        answer = webui.post("/sdapi/v1/extra-single-image", body)
        assert answer.status_code == 200, answer.text
        assert "Postprocess upscaler: R-ESRGAN 4x+" in answer.json()["html_info"]
        return Image.open(io.BytesIO(base64.b64decode(answer.json()["image"]))).convert("RGB")

    assert ImageChops.difference(upscaled(), expected).getbbox(), "a network's picture is not Lanczos'"
    arm(webui, kind="missing weights", upscaler="R-ESRGAN*")
    assert not ImageChops.difference(upscaled(), expected).getbbox()


def test_a_lora_that_cannot_be_read_is_listed_and_does_nothing(webui) -> None:
    folder = webui.server.engine.lora_folder
    write_checkpoint(folder / "velvet.safetensors")
    (folder / "broken.safetensors").write_bytes(b"no header at all")
    assert {"velvet", "broken"} <= {lora["name"] for lora in webui.get("/sdapi/v1/loras").json()}
    plain, velvet, broken, off = (
        webui.generate(prompt=f"a cat{tag}")
        for tag in ("", "<lora:velvet:0.8>", "<lora:broken:0.8>", "<lora:velvet:0>")
    )
    assert picture(velvet).tobytes() != picture(plain).tobytes()
    assert picture(broken).tobytes() == picture(off).tobytes() == picture(plain).tobytes()
    assert "Lora hashes: velvet: " in json.loads(velvet.json()["info"])["infotexts"][0].replace('"', "")
    said = json.loads(broken.json()["info"])["infotexts"][0]
    assert said.startswith("a cat<lora:broken:0.8>")
    assert "Lora hashes" not in said
    assert (folder / "broken.safetensors").exists(), "it is not moved away, as a checkpoint is"


# -- swallowed, and refused late -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"negative_prompt": "<lora:nosuch:1>"},
        {"no_such_field": 1},
        *(
            {"alwayson_scripts": {"ADetailer": {"args": [True, False, {"ad_model": "mediapipe_face_full", **unit}]}}}
            for unit in (
                {"ad_use_checkpoint": True, "ad_checkpoint": "nosuch"},
                {"ad_use_sampler": True, "ad_sampler": "nosuch"},
                {"ad_use_vae": True, "ad_vae": "nosuch"},
                {"ad_controlnet_model": "nosuch"},
            )
        ),
    ],
    ids=str,
)
def test_wrong_names_that_are_swallowed(webui, body: dict[str, Any]) -> None:
    assert webui.generate(**body).status_code == 200


HIRES = {"enable_hr": True, "denoising_strength": 0.5, "hr_additional_modules": ["Use same choices"]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"refiner_checkpoint": "nosuch", "refiner_switch_at": 0.8}, "Could not find checkpoint with name nosuch"),
        ({**HIRES, "hr_checkpoint_name": "nosuch"}, "Could not find checkpoint with name nosuch"),
        ({**HIRES, "hr_sampler_name": "nosuch"}, "bad sampler name: nosuch"),
        ({"override_settings": {"nosuch": 1}}, "'nosuch'"),
        ({"sampler_name": "UniPC", "steps": 2}, "UniPC order must be < sampling steps"),
    ],
    ids=str,
)
def test_wrong_names_that_are_refused_only_when_the_gpu_is_taken(webui, body: dict[str, Any], message: str) -> None:
    begun = webui.server.job_queue.begun
    answer = webui.generate(**body)
    assert (answer.status_code, answer.json()["message"]) == (500, message)
    assert webui.server.job_queue.begun == begun + 1


# -- failures on the GPU -------------------------------------------------------------------------------


def test_out_of_memory_in_the_middle_of_a_job_leaves_what_any_failure_leaves(webui) -> None:
    arm(webui, kind="step failure", step=3, task="task(large)")
    assert webui.generate(force_task_id="task(small)").ok
    failed = webui.generate(force_task_id="task(large)")
    assert (failed.status_code, failed.json()["error"]) == (500, "OutOfMemoryError")
    assert failed.json()["message"].startswith("CUDA out of memory")
    assert webui.task("task(large)")["active"], "until the next job starts"
    assert webui.progress()["state"]["sampling_step"] == 1
    assert webui.generate().ok
    assert not webui.task("task(large)")["active"]


@pytest.mark.parametrize("how", ["black", "uniform"])
def test_a_picture_of_one_colour_has_the_usual_size_and_says_the_usual_things(webui, how: str) -> None:
    honest = webui.generate()
    arm(webui, kind="image", how=how)
    answer = webui.generate()
    assert answer.status_code == 200
    wrong, right = picture(answer), picture(honest)
    assert (wrong.size, wrong.info) == (right.size, right.info)
    assert len(wrong.getcolors() or ()) == 1
    assert (wrong.getpixel((0, 0)) == (0, 0, 0)) == (how == "black")


def test_a_stalled_sampler_shows_the_same_progress_and_obeys_no_interrupt(webui) -> None:
    stall = arm(webui, kind="stall", step=3, task="task(hung)")
    job = webui.in_background(force_task_id="task(hung)")
    wait_until_fired(webui, stall)
    before = webui.task("task(hung)")
    webui.post("/sdapi/v1/interrupt")
    assert webui.progress()["state"]["interrupted"]
    assert webui.task("task(hung)")["progress"] == before["progress"] > 0
    assert not job.done()
    go_on(webui, stall)
    assert job.result(PATIENCE).status_code == 200


def test_a_stall_can_obey_an_interrupt(webui) -> None:
    stall = arm(webui, kind="stall", step=3, obeys_interrupt=True)
    job = webui.in_background(steps=20)
    wait_until_fired(webui, stall)
    webui.post("/sdapi/v1/interrupt")
    assert job.result(PATIENCE).status_code == 200
    assert webui.server.steps.done < 20


# -- the server is away --------------------------------------------------------------------------------


def test_the_port_is_open_before_the_routes_are_there(start) -> None:
    webui = start(startup_time=3600)
    early = webui.get("/sdapi/v1/sd-models")
    assert (early.status_code, early.json()) == (404, {"detail": "Not Found"})
    assert webui.post("/internal/progress", {"id_task": "x"}).status_code == 404


def test_after_its_startup_time_it_serves_its_routes(start) -> None:
    webui = start(startup_time=0.3)
    until("it lists its models", lambda: webui.get("/sdapi/v1/sd-models").status_code == 200)
    assert webui.generate().ok


@pytest.mark.parametrize(("steps", "status", "kept"), [(1, 200, True), (0, 500, False)])
def test_after_a_500_the_connection_is_closed_unannounced(webui, steps: int, status: int, kept: bool) -> None:
    connection = http.client.HTTPConnection(webui.server.host, webui.server.port, timeout=PATIENCE)
    body = json.dumps({**SMALL, "steps": steps})
    try:
        connection.request("POST", "/sdapi/v1/txt2img", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == status
        assert answer.getheader("connection") is None
        answer.read()
        sock = connection.sock
        if kept:
            connection.request("GET", "/internal/ping")
            assert connection.getresponse().status == 200
        else:
            assert sock.recv(1) == b"", "the end of the stream"
    finally:
        connection.close()


def test_a_restart_ends_a_job_that_hangs_and_forgets_it(tmp_path) -> None:
    flags = ("--faults", "--api-server-stop", "--restartable")
    process, url = start_process(tmp_path, *flags)
    try:
        pid = process.pid
        fault = {"kind": "stall", "task": "task(hung)"}
        assert requests.post(f"{url}/faults", json=fault, timeout=PATIENCE).status_code == 201
        broken: list[bool] = []

        def send() -> None:
            try:
                requests.post(
                    f"{url}/sdapi/v1/txt2img", json={**SMALL, "force_task_id": "task(hung)"}, timeout=PATIENCE
                )
            except requests.ConnectionError:
                broken.append(True)

        sender = threading.Thread(target=send)
        sender.start()
        until("the fault has fired", lambda: requests.get(f"{url}/faults", timeout=PATIENCE).json()[0]["fired"])
        with pytest.raises(requests.ConnectionError):
            requests.post(f"{url}/sdapi/v1/server-restart", timeout=PATIENCE)
        sender.join(PATIENCE)
        assert broken

        def idle_again() -> bool:
            try:
                return requests.get(f"{url}/sdapi/v1/progress", timeout=PATIENCE).json()["state"]["job_count"] == 0
            except requests.ConnectionError:
                return False

        until("it is idle again", idle_again)
        assert process.pid == pid and process.poll() is None
        asked = requests.post(f"{url}/internal/progress", json={"id_task": "task(hung)"}, timeout=PATIENCE).json()
        assert not (asked["active"] or asked["queued"] or asked["completed"])
        assert requests.post(f"{url}/sdapi/v1/txt2img", json=SMALL, timeout=PATIENCE).ok
    finally:
        process.kill()
        process.wait()


# -- routes that a known client asks for ---------------------------------------------------------------


def test_interrogate_reads_the_prompt_of_the_infotext(webui) -> None:
    (encoded,) = webui.generate(prompt="a red boat").json()["images"]

    def asked(**body: str) -> requests.Response:
        return webui.post("/sdapi/v1/interrogate", body)

    assert asked(image=encoded).json() == asked(image=encoded, model="deepdanbooru").json() == {"caption": "a red boat"}
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "png")
    assert asked(image=base64.b64encode(file.getvalue()).decode()).json() == {"caption": "a picture"}
    unknown = asked(image=encoded, model="nosuch")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Model not found"})
    assert asked(image="aGVsbG8=").status_code == 500


def test_controlnet_lists_no_models_and_no_modules(webui) -> None:
    assert webui.get("/controlnet/module_list").json() == {"module_list": ["None"]}
    assert webui.get("/controlnet/model_list").json() == {"model_list": ["None"]}
