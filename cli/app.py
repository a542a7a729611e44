"""``darkroom``: up, run, deploy, worker, webui, plan, check.

Prefect is imported inside the commands: its address has to be in the environment before that.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from cyclopts import App, Parameter

from services.environment import API, use
from services.process import ChildDied
from store.settings import PROJECT, settings

EXAMPLE = PROJECT / "jobs" / "lighthouse.yaml"

app = App(
    name="darkroom",
    help="Queue, schedule and retry Stable Diffusion jobs on your own GPU, with Prefect.",
    version_flags=[],
)


def say(text: str) -> None:
    print(text, flush=True)


def complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Stopped(BaseException):
    """SIGINT, SIGTERM or SIGHUP came."""


def _stop_on_signals() -> None:
    """Let each of them end what is going on, once; what cleans up is not disturbed by a second."""

    def stop(number: int, frame: FrameType | None) -> None:
        for one in _STOPPING:
            signal.signal(one, _leave)
        raise Stopped(signal.Signals(number).name)

    for one in _STOPPING:
        signal.signal(one, stop)


_STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _leave(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt


def _need_prefect() -> str:
    from services.stack import find_prefect

    if (api := find_prefect(say)) is None:
        complain("No Prefect server: run `darkroom up` in another terminal, or `prefect config set PREFECT_API_URL=…`")
        raise SystemExit(2)
    return api


@app.command
def up(*, webui: Annotated[str | None, Parameter(help="A WebUI's address; else the embedded one.")] = None) -> int:
    """Prefect, a WebUI and the worker in the foreground; Ctrl-C stops all three."""
    from services.stack import AlreadyUp, Stack

    _stop_on_signals()
    _use_webui(webui)
    try:
        with Stack(say) as stack:
            say(f"Prefect  {stack.addresses.ui_url}")
            say(f"WebUI    {stack.addresses.webui_url}")
            say(f"logs     {settings().home / 'logs'}")
            say("Ctrl-C stops everything.")
            stack.watch(threading.Event())
    except Stopped:
        say("stopped")
        return 0
    except (AlreadyUp, ChildDied, TimeoutError, ValueError) as error:
        complain(str(error))
        return 1
    return 0


@app.command
def run(
    job: Annotated[Path | None, Parameter(help="A file of one job, or of many; without one, the example.")] = None,
    *,
    start: Annotated[bool, Parameter(help="Start what is missing for the time of the run.")] = False,
    webui: Annotated[str | None, Parameter(help="A WebUI's address, for --start.")] = None,
) -> int:
    """Queue a job, watch it, and print where its pictures are."""
    from services.stack import AlreadyUp, Stack, running

    _stop_on_signals()
    _use_webui(webui)
    file = job or EXAMPLE
    try:
        with ExitStack() as exits:
            stack = None
            if start and not (running() and not os.environ.get(API)):
                _check_file(file)
                stack = exits.enter_context(Stack(say))
            else:
                _need_prefect()
            return _run(file, stack.keep_alive if stack else lambda: None)
    except Stopped:
        say("stopped")
        return 130
    except KeyboardInterrupt:
        return 130
    except (AlreadyUp, ChildDied, TimeoutError) as error:
        complain(str(error))
        return 1
    except ValueError as error:
        complain(str(error))
        return 2


def _use_webui(url: str | None) -> None:
    if url:
        os.environ["DARKROOM_WEBUI_URL"] = url


def _check_file(file: Path) -> None:
    if not file.is_file():
        raise ValueError(f"{file}: no such file")


def _run(file: Path, check: object) -> int:
    from prefect.client.orchestration import get_client

    from cli.follow import Follower, console, queue, report

    deployment, name, parameters = _queued_as(file)
    out = console()
    with get_client(sync_client=True) as client:
        flow_run = queue(client, deployment, name, parameters)
        ui_url = os.environ[API].removesuffix("/api")
        say(f"queued {flow_run.name}: {ui_url}/runs/flow-run/{flow_run.id}")
        with Follower(client, flow_run, out) as follower:
            try:
                ended = follower.until_ended(check)  # type: ignore[arg-type]
            except Stopped:
                ended = follower.cancel()
        return report(ended, ui_url, out)


def _queued_as(file: Path) -> tuple[str, str, dict[str, Any]]:
    """The deployment, name and parameters of a file of one job or of many; its pictures are in the store by then."""
    from cli.example import adapt_example
    from deployments.bootstrap import DEPLOYMENT
    from flows.job import read_job
    from flows.jobfile import holds_many, keep_jobs

    if holds_many(file):
        return "batch/batch", file.stem, {"name": file.stem, "file": keep_jobs(str(file))}
    job = read_job(file)
    if file.resolve() == EXAMPLE:
        job = adapt_example(job, say)
    return DEPLOYMENT, job.name, {"job": job.parameters()}


@app.command
def deploy(
    *,
    webui: Annotated[str | None, Parameter(help="Where the block webui/default shall point.")] = None,
    remove_leftovers: Annotated[bool, Parameter(help="Delete deployments that prefect.yaml no longer names.")] = False,
) -> int:
    """Put pool, blocks and deployments into an existing Prefect. Safe to repeat."""
    api = _need_prefect()
    from deployments.bootstrap import NotReady, bootstrap

    try:
        bootstrap(webui, say, remove_leftovers=remove_leftovers)
    except (NotReady, ValueError) as error:
        complain(str(error))
        return 1
    say(f"Prefect at {api} knows everything that a job needs.")
    return 0


@app.command
def worker() -> int:
    """Run what the pool hands out, and look after what must outlive a run."""
    _need_prefect()
    # Events wake the worker; polling (seconds) is for what they miss. Runs are taken when they are due, not ahead:
    # one that waits for its time would hold the pool's place.
    use({"PREFECT_WORKER_QUERY_SECONDS": "5"})
    from worker.supervisor import main as work

    return work()


@app.command
def webui(
    *,
    port: Annotated[int, Parameter(help="0 takes a free one.")] = 7861,
) -> int:
    """The embedded WebUI alone, for machines that have no real one."""
    arguments = [
        sys.executable,
        "-m",
        "webui.embedded",
        "--port",
        str(port),
        "--folder",
        str(settings().home / "webui"),
    ]
    os.execv(sys.executable, arguments)


@app.command
def plan() -> int:
    """What waits in the pool, in the order in which it would start, and why. Changes nothing."""
    _need_prefect()
    import asyncio

    from prefect.client.orchestration import get_client

    from deployments.bootstrap import POOL
    from worker.order import Planner

    async def show() -> None:
        async with get_client() as client:
            turns = await Planner(client, POOL).turns()
        for number, turn in enumerate(turns, start=1):
            say(f"{number:4}  {turn.run.name}  ({turn.reason})")
        if not turns:
            say("nothing waits")

    asyncio.run(show())
    return 0


@app.command
def check() -> int:
    """Is everything there that a job needs? Each line says ok, or what to do."""
    from services.stack import find_prefect

    api = find_prefect(say)
    from cli.check import check_all

    return check_all(api, say)


def main() -> int:
    """The entry point of the ``darkroom`` command."""
    result = app(result_action="return_value")
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
