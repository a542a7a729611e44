"""Tasks from the queue to their result, as /internal/* and /sdapi/v1/progress tell of them."""

import base64
import io
import itertools
import re
from concurrent.futures import wait

import pytest
from PIL import Image
from talking import PATIENCE

from webui.embedded.options import Options
from webui.embedded.progress import Tasks, create_task_id
from webui.embedded.state import State

WAITING = {
    "active": False,
    "queued": False,
    "completed": False,
    "progress": None,
    "eta": None,
    "live_preview": None,
    "id_live_preview": -1,
    "textinfo": "Waiting...",
}


@pytest.fixture
def tasks(tmp_path) -> Tasks:
    options = Options(tmp_path / "config.json")
    return Tasks(State(options), options)


def test_ids_name_their_type() -> None:
    ids = {create_task_id("txt2img") for _ in range(50)}
    assert all(re.fullmatch(r"task\(txt2img-[A-Z0-9]{7}\)", one) for one in ids)
    assert len(ids) == 50


def test_the_page_example_of_a_task(tasks: Tasks) -> None:
    """Create and queue a task, start it, finish it: the module's page shows this use."""
    task_id = create_task_id("txt2img")
    tasks.add_task_to_queue(task_id)
    assert tasks.get_pending_tasks().model_dump() == {"size": 1, "tasks": [task_id]}
    tasks.start_task(task_id)
    assert tasks.get_pending_tasks().size == 0
    assert tasks.current == task_id
    tasks.finish_task(task_id)
    assert tasks.current is None


def test_the_page_example_of_a_client_that_polls(webui) -> None:
    webui.server.steps.hold()
    job = webui.in_background(force_task_id="task(polled)")
    seen = []
    for step in range(1, 5):
        webui.server.steps.advance()
        assert webui.server.steps.wait_for(step, PATIENCE)
        body = {"id_task": "task(polled)", "id_live_preview": -1, "live_preview": True}
        seen.append(webui.post("/internal/progress", body).json()["progress"])
    webui.server.steps.release()
    assert job.result(PATIENCE).status_code == 200
    assert seen[:3] == [0.0, 0.25, 0.5]
    assert seen[3] in (0.75, None, 1.0)  # after the last step the job ends by itself
    assert webui.task("task(polled)") == {**WAITING, "completed": True}


def test_nobody_knows_the_task(webui) -> None:
    assert webui.task("task(nobody's)") == WAITING


def test_tasks_wait_in_order_and_see_their_place(webui) -> None:
    server = webui.server
    server.steps.hold()
    first = webui.in_background(force_task_id="task(a)")
    assert server.steps.wait_for(0, PATIENCE)
    later = []
    for number, name in enumerate(("task(b)", "task(c)"), 1):
        later.append(webui.in_background(force_task_id=name))
        assert server.job_queue.wait_for_waiting(number, PATIENCE)
    assert webui.get("/internal/pending-tasks").json() == {"size": 2, "tasks": ["task(b)", "task(c)"]}
    assert webui.task("task(a)")["active"]
    assert webui.task("task(b)") == {**WAITING, "queued": True, "textinfo": "In queue: 1/2"}
    assert webui.task("task(c)")["textinfo"] == "In queue: 2/2"
    server.steps.release()
    wait([first, *later], PATIENCE)
    turns = [turn for turn in server.job_queue.records if turn.task in ("task(a)", "task(b)", "task(c)")]
    assert [turn.task for turn in turns] == ["task(a)", "task(b)", "task(c)"]
    assert all(earlier.end <= later.start for earlier, later in itertools.pairwise(turns))


def test_two_clocks_of_one_job(webui) -> None:
    """The API's progress carries 0.01 that the page's has not; neither leaves the last step before the end."""
    webui.server.steps.hold()
    job = webui.in_background(force_task_id="task(both)", steps=10)
    webui.server.steps.advance(6)
    assert webui.server.steps.wait_for(6, PATIENCE)
    told = webui.progress()
    assert told["progress"] == pytest.approx(0.51)
    assert told["eta_relative"] > 0
    state = told["state"]
    assert (state["job"], state["job_count"], state["job_no"]) == ("scripts_txt2img", 1, 0)
    assert (state["sampling_step"], state["sampling_steps"]) == (5, 10)
    page = webui.task("task(both)")
    assert page["progress"] == pytest.approx(0.5)
    assert page["eta"] > 0
    assert page["textinfo"] is None
    webui.server.steps.release()
    job.result(PATIENCE)
    idle = webui.progress()
    assert (idle["progress"], idle["eta_relative"], idle["state"]["job_count"]) == (0, 0, 0)
    assert (idle["state"]["job_no"], idle["state"]["sampling_steps"]) == (1, 10)


def test_previews_come_as_data_uris_and_not_twice(webui) -> None:
    webui.post("/sdapi/v1/options", {"show_progress_every_n_steps": 2})
    server = webui.server
    server.steps.hold()
    job = webui.in_background(force_task_id="task(seen)", steps=8, width=128, height=128)
    server.steps.advance(2)
    assert server.steps.wait_for(2, PATIENCE)
    assert webui.task("task(seen)")["live_preview"] is None, "step 1 is too early"
    server.steps.advance(1)
    assert server.steps.wait_for(3, PATIENCE)
    assert webui.task("task(seen)", live_preview=False)["live_preview"] is None
    shown = webui.task("task(seen)")
    kind, _, encoded = shown["live_preview"].partition(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (32, 32)
    assert shown["id_live_preview"] == 1
    again = webui.task("task(seen)", id_live_preview=1)
    assert (again["live_preview"], again["id_live_preview"]) == (None, 1)
    assert webui.get("/sdapi/v1/progress").json()["current_image"]
    assert webui.progress()["current_image"] is None
    server.steps.release()
    job.result(PATIENCE)
    webui.post("/sdapi/v1/options", {"show_progress_every_n_steps": 10})


def test_several_pictures_move_one_bar(webui) -> None:
    webui.server.steps.hold()
    job = webui.in_background(n_iter=2, steps=2)
    seen = []
    for number, step in ((1, 1), (1, 2), (2, 1)):
        webui.server.steps.advance()
        assert webui.server.steps.wait_for(step, PATIENCE, in_pass=number)
        told = webui.progress()
        seen.append(told["progress"])
    assert told["state"]["job"] == "Batch 2 out of 2"
    assert told["progress"] == pytest.approx(0.51)
    assert seen == sorted(seen)
    webui.server.steps.release()
    job.result(PATIENCE)


def test_a_failed_job_stays_active_until_the_next_begins(webui) -> None:
    failed = webui.generate(steps=0, force_task_id="task(failed)")
    assert failed.status_code == 500
    assert failed.json() == {
        "error": "ZeroDivisionError",
        "detail": "",
        "body": "",
        "message": "integer division or modulo by zero",
    }
    told = webui.task("task(failed)")
    assert (told["active"], told["completed"], told["progress"]) == (True, False, 0)
    webui.generate()
    assert webui.task("task(failed)") == WAITING


def test_a_bad_picture_leaves_its_task_pending(webui) -> None:
    answer = webui.generate("img2img", init_images=["aGVsbG8="], force_task_id="task(stuck)")
    assert (answer.status_code, answer.json()) == (500, {"detail": "Invalid encoded image"})
    assert webui.task("task(stuck)")["queued"]
    assert "task(stuck)" in webui.get("/internal/pending-tasks").json()["tasks"]
    webui.generate()
    assert webui.task("task(stuck)")["queued"]


def test_sixteen_finished_tasks_are_remembered(webui) -> None:
    names = [f"task(ring-{number})" for number in range(18)]
    for name in names:
        webui.generate(steps=1, force_task_id=name)
    assert [webui.task(name)["completed"] for name in names] == [False, False] + [True] * 16


def test_without_an_id_the_current_task_is_meant(start) -> None:
    fresh = start()
    answer = fresh.post("/internal/progress", {})
    assert (answer.status_code, answer.json()["error"]) == (500, "TypeError")
    assert answer.json()["message"] == "unsupported operand type(s) for -: 'float' and 'NoneType'"
    fresh.generate()
    idle = fresh.post("/internal/progress", {}).json()
    assert (idle["active"], idle["progress"], idle["textinfo"]) == (True, 0, None)


# -- restoring -----------------------------------------------------------------------------------------


def restore(webui, id_task: str, timeout: float = PATIENCE):
    return webui.post("/internal/restore-progress", {"id_task": id_task, "timeout": timeout})


def test_a_lost_answer_is_waited_for_and_fetched(webui, pool) -> None:
    webui.server.steps.hold()
    job = webui.in_background(force_task_id="task(lost)")
    assert webui.server.steps.wait_for(0, PATIENCE)
    restored = pool.submit(restore, webui, "task(lost)")
    assert webui.server.requests.wait_for("POST", "/internal/restore-progress", 1, PATIENCE)
    assert not restored.done()
    webui.server.steps.release()
    assert restored.result(PATIENCE).json() == job.result(PATIENCE).json()


def test_only_the_last_few_results_are_kept(webui) -> None:
    for name in ("task(r1)", "task(r2)", "task(r3)"):
        webui.generate(steps=1, force_task_id=name)
    gone = restore(webui, "task(r1)")
    assert gone.status_code == 404
    assert "Couldn't restore progress for task(r1)" in gone.json()["detail"]
    assert restore(webui, "task(r3)").json()["images"]


def test_a_failed_task_has_no_result_and_nobody_waits_for_it(webui) -> None:
    webui.generate(steps=0, force_task_id="task(raised)")
    assert restore(webui, "task(raised)").status_code == 404


def test_a_task_that_stays_pending_is_given_up(webui) -> None:
    webui.generate("img2img", init_images=["aGVsbG8="], force_task_id="task(hung)")
    answer = restore(webui, "task(hung)", timeout=0.05)
    assert answer.status_code == 404
    assert "not done" in answer.json()["detail"]
