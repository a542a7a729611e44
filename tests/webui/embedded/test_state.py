"""The job state by itself: counters, flags, previews, commands."""

import threading

import pytest
from PIL import Image

from webui.embedded.state import State


class Previews:
    live_previews_enable = True
    show_progress_every_n_steps = 3


@pytest.fixture
def state() -> State:
    return State(Previews())


def test_a_fresh_state_is_idle(state: State) -> None:
    assert state.dict() == {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "",
        "job_count": 0,
        "job_timestamp": "0",
        "job_no": 0,
        "sampling_step": 0,
        "sampling_steps": 0,
    }
    assert state.time_start is None


def test_begin_resets_all_but_the_last_jobs_number_of_steps(state: State) -> None:
    state.begin("first")
    state.begin_sampling(20)
    state.sampling_step = 7
    state.nextjob()
    state.assign_current_image(Image.new("RGB", (8, 8)))
    state.end()

    state.begin("second")

    told = state.dict()
    assert (told["job"], told["job_no"], told["job_count"], told["sampling_step"]) == ("second", 0, -1, 0)
    assert told["sampling_steps"] == 20
    assert len(told["job_timestamp"]) == 14
    assert state.current_image is None
    assert state.id_live_preview == 0


def test_an_unnamed_job(state: State) -> None:
    state.begin()
    assert state.job == "(unknown)"


def test_end_leaves_flags_and_counters_to_be_looked_at(state: State) -> None:
    state.begin("job")
    state.begin_sampling(5)
    state.nextjob()
    state.interrupt()
    state.end()
    told = state.dict()
    assert (told["job"], told["job_count"]) == ("", 0)
    assert (told["job_no"], told["sampling_steps"], told["interrupted"]) == (1, 5, True)


@pytest.mark.parametrize(
    ("raise_it", "flag"),
    [
        (State.skip, "skipped"),
        (State.interrupt, "interrupted"),
        (State.stop_generating, "stopping_generation"),
    ],
)
def test_a_flag_raised_before_a_job_begins_is_lost(state: State, raise_it, flag: str) -> None:
    raise_it(state)
    assert state.dict()[flag]
    state.begin("job")
    assert not state.dict()[flag]


def test_only_interrupt_and_skip_stop_the_sampler(state: State) -> None:
    state.stop_generating()
    assert not state.must_stop_sampling
    state.skip()
    assert state.must_stop_sampling


def test_nextjob_counts_and_starts_the_steps_anew(state: State) -> None:
    state.begin("job")
    state.sampling_step = state.current_image_sampling_step = 3
    state.nextjob()
    assert (state.job_no, state.sampling_step, state.current_image_sampling_step) == (1, 0, 0)


def test_a_preview_every_so_many_steps_and_only_when_looked_at(state: State) -> None:
    made: list[int] = []

    def picture() -> Image.Image:
        made.append(state.sampling_step)
        return Image.new("RGB", (8, 8))

    state.begin("job")
    state.current_latent = picture
    ids = []
    for step in range(8):
        state.sampling_step = step
        state.set_current_image()
        ids.append(state.id_live_preview)
    assert made == [3, 6]
    assert ids == [0, 0, 0, 1, 1, 1, 2, 2]


def test_without_a_latent_there_is_no_preview(state: State) -> None:
    state.begin("job")
    state.do_set_current_image()
    assert state.current_image is None


def test_previews_once_a_picture_are_made_when_it_is_done() -> None:
    class Once(Previews):
        show_progress_every_n_steps = -1

    state = State(Once())
    state.begin("job")
    state.current_latent = lambda: Image.new("RGB", (8, 8))
    state.sampling_step = 9
    state.set_current_image()
    assert state.current_image is None
    state.nextjob()
    assert state.id_live_preview == 1


def test_previews_switched_off() -> None:
    class Off(Previews):
        live_previews_enable = False

    state = State(Off())
    state.begin("job")
    state.current_latent = lambda: Image.new("RGB", (8, 8))
    state.sampling_step = 9
    state.set_current_image()
    assert state.current_image is None


def test_the_page_example_of_a_job_with_four_pictures(state: State) -> None:
    """The usage that the module's page shows: interrupted leaves the loop, skipped goes on with the next."""
    done = []
    state.begin("txt2img")
    state.job_count = 4
    for i in range(4):
        if i == 1:
            state.skip()
        if i == 3:
            state.interrupt()
        if state.interrupted:
            break
        if state.skipped:
            state.skipped = False
            continue
        done.append(i)
        state.nextjob()
    state.end()
    status = state.dict()
    assert done == [0, 2]
    assert (status["job_no"], status["sampling_step"], status["sampling_steps"]) == (2, 0, 0)


def test_a_server_command_is_waited_for_and_taken_once(state: State) -> None:
    assert state.wait_for_server_command(timeout=0.01) is None
    taken: list[str | None] = []
    waiter = threading.Thread(target=lambda: taken.append(state.wait_for_server_command(timeout=30)))
    waiter.start()
    state.server_command = "stop"
    waiter.join(30)
    assert taken == ["stop"]
    assert state.wait_for_server_command(timeout=0.01) is None
