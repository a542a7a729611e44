"""The faults of the matrix, what each does to a run that is painting and what may come of it; and those of the soak.

Real signals to real processes; what only a WebUI can do, the embedded one does (docs/faults.md).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from tests.night.rig import FORK_SERVER, SERVER, STAGES, WORKER, Night, folder_is_away, pause
from tests.waiting import until

AWAY = 20.0  # seconds
STARTING = 6.0  # seconds of 404 while a WebUI starts
NOTICED_WITHIN = 150.0  # seconds for a job of seconds that makes no progress; a real Forge loads a large model in 13 s


@dataclass(frozen=True)
class Fault:
    """
    strike: does it, while the run paints; returns when its cause is gone.
    arm: prepares the WebUI before the run is queued, where the fault lies in an answer; ``strike`` then only waits.
    finals: the state types in which the run may end by itself; a Failed or Cancelled one needs one Retry.
    picture: the number of the stage's picture, of two, that the fault hits.
    stages: where it can happen.
    """

    strike: Callable[[Night, str, str], None]
    arm: Callable[[Night, str], None] = lambda night, stage: None
    finals: tuple[str, ...] = ("COMPLETED",)
    picture: int = 2
    step: int = 1
    stages: tuple[str, ...] = STAGES


def kill(process: psutil.Process | None) -> None:
    assert process is not None, "the process to kill is not there"
    process.kill()


def _webui_away(night: Night, run: str, stage: str) -> None:
    night.webui_dies()
    pause(AWAY)
    night.webui_returns()


def _webui_starting(night: Night, run: str, stage: str) -> None:
    night.webui_dies()
    night.webui_returns(starting=STARTING)


def _arm_hang(night: Night, stage: str) -> None:
    if stage == "upscale":
        night.arm(kind="hang", path=_path(stage), nth=2)


def _hang(night: Night, run: str, stage: str) -> None:
    """The sampler stands still until somebody interrupts it; an upscale until its client goes away."""
    if stage != "upscale":
        night.webui.steps.hold()
        try:
            until("the hang is noticed", lambda: night.webui.state.interrupted, NOTICED_WITHIN)
        finally:
            night.webui.steps.release()
    else:
        until("the hang is noticed", lambda: len(night.asked_by(run, stage)) > 2, NOTICED_WITHIN)


def _arm_out_of_memory(night: Night, stage: str) -> None:
    where = {"nth": 2} if stage == "upscale" else {"contains": f"-{stage}-2-"}
    night.arm(kind="error", like="out of memory", path=_path(stage), **where)


def _arm_stays_out_of_memory(night: Night, stage: str) -> None:
    night.arm(kind="error", like="out of memory", path="/sdapi/v1/*2img", contains="task(canary-", times=None)
    _arm_out_of_memory(night, stage)


def _webui_recovers(night: Night, run: str, stage: str) -> None:
    """As when somebody restarts it, once the worker has said that it holds."""
    until("the worker holds", lambda: "On hold" in night.call("GET", "/work_pools/gpu")["description"], 60)
    assert night.webui.faults
    night.webui.faults.disarm()


def _stop(night: Night, run: str, stage: str) -> None:
    """By a signal, until the worker notices and lets it go on."""
    process = night.run_process()
    assert process is not None, "no process to stop"
    process.suspend()
    until("it goes on", lambda: process.status() != psutil.STATUS_STOPPED, 60)


def _folder_is_away(night: Night, run: str, stage: str) -> None:
    """Until the run says that it waits for it, or ends (an upscale's input is in there)."""
    with folder_is_away(night.home / "runs"):
        until(
            "it says that it waits, or ends",
            lambda: "cannot be written" in str(night.logs(run)[-3:]) or night.run(run)["state_type"] != "RUNNING",
            60,
        )


def _cancel(night: Night, run: str, stage: str) -> None:
    night.set_state(run, "CANCELLING")
    asked = time.monotonic()
    assert night.webui.wait_until_idle(10), "10 s after the cancel the WebUI still paints"
    took = time.monotonic() - asked
    assert took <= 2, f"the WebUI was idle {took:.1f} s after the cancel"


def _load_failure(night: Night, stage: str) -> None:
    night.arm(kind="load failure", asked="oil*")


def _nothing(night: Night, run: str, stage: str) -> None:
    """The fault was armed before the run began."""


def _path(stage: str) -> str:
    return f"/sdapi/v1/{'extra-single-image' if stage == 'upscale' else 'img2img' if stage != 'txt2img' else stage}"


FAULTS = {
    "the run's process is killed": Fault(lambda night, run, stage: kill(night.run_process())),
    "the run's process is stopped (SIGSTOP)": Fault(_stop),
    "the fork server is killed": Fault(lambda night, run, stage: kill(night.part(FORK_SERVER))),
    "the worker is killed": Fault(lambda night, run, stage: kill(night.part(WORKER))),
    "the Prefect server is killed": Fault(lambda night, run, stage: kill(night.part(SERVER))),
    f"the WebUI is away for {AWAY:g} s": Fault(_webui_away),
    f"the WebUI starts, and answers 404 for {STARTING:g} s": Fault(_webui_starting),
    "the connection breaks after the request was sent": Fault(lambda night, run, stage: night.break_connections()),
    "an answer never comes": Fault(_hang, _arm_hang),
    "out of memory": Fault(_nothing, _arm_out_of_memory, finals=("FAILED",), step=0),
    "out of memory, and the WebUI does not recover": Fault(
        _webui_recovers, _arm_stays_out_of_memory, finals=("FAILED",), step=0
    ),
    "a checkpoint can't be loaded": Fault(
        _nothing, _load_failure, finals=("COMPLETED", "FAILED"), picture=0, stages=("txt2img", "img2img")
    ),
    "the folder of the runs can't be written": Fault(_folder_is_away, finals=("COMPLETED", "FAILED")),
    "a cancel, and Retry right after it": Fault(_cancel, finals=("CANCELLED",)),
}

# Of the soak: armed before the runs begin, for a request of theirs.
ANSWERS: dict[str, dict[str, Any]] = {
    "500": {"kind": "error", "body": {"error": "RuntimeError", "detail": "", "body": "", "message": "armed"}},
    "connection dropped": {"kind": "drop"},
    "answer lost": {"kind": "drop", "when": "after"},
    "answer 3 s late": {"kind": "slow", "seconds": 3},
    "out of memory": {"kind": "error", "like": "out of memory"},
}


def _stop_for_a_while(night: Night, run: str) -> None:
    process = night.run_process()
    assert process is not None, "no process to stop"
    process.send_signal(signal.SIGSTOP)
    pause(5)
    process.send_signal(signal.SIGCONT)


def _webui_restarts(night: Night, run: str) -> None:
    night.webui_dies()
    pause(5)
    night.webui_returns()


# Of the soak, too: done when the WebUI is asked for a picture of the run.
STRIKES: dict[str, Callable[[Night, str], None]] = {
    "run killed": lambda night, run: kill(night.run_process()),
    "worker killed": lambda night, run: kill(night.part(WORKER)),
    "server killed": lambda night, run: kill(night.part(SERVER)),
    "fork server killed": lambda night, run: kill(night.part(FORK_SERVER)),
    "run stopped for 5 s": _stop_for_a_while,
    "WebUI away for 5 s": _webui_restarts,
    "cancel": lambda night, run: night.set_state(run, "CANCELLING"),
}
