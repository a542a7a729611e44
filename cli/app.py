"""``darkroom``: up, run, capture, bookmark, queue, hours, timetable, deploy, worker, webui, plan, notify, check.

Prefect is imported inside the commands: its address has to be in the environment before that.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import yaml
from cyclopts import App, Parameter

from cli.common import complain, need_prefect, queue_client, say, say_queued
from cli.hours import hours, timetable
from cli.queue import queue
from services.environment import API, ui_url, use
from services.process import ChildDied
from store.settings import PROJECT, settings

app = App(name="darkroom", help="Queue, schedule and retry Stable Diffusion jobs on your own GPU.", version_flags=[])
for one in (queue, hours, timetable):
    app.command(one)


class Stopped(BaseException):
    """One of ``STOP_SIGNALS`` came."""


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _stop_on_signals() -> None:
    """The first of ``STOP_SIGNALS`` raises ``Stopped``. After it, only another Ctrl-C interrupts the clean-up."""

    def stop(number: int, frame: FrameType | None) -> None:
        for one in STOP_SIGNALS:
            signal.signal(one, signal.default_int_handler if one == signal.SIGINT else signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    for one in STOP_SIGNALS:
        signal.signal(one, stop)


@app.command
def up(*, webui: Annotated[str | None, Parameter(help="A WebUI's address; else the embedded one.")] = None) -> int:
    """Prefect, a WebUI, the worker and the queue's API in the foreground; Ctrl-C stops all."""
    from services.stack import AlreadyUp, Stack

    _stop_on_signals()
    _use_webui(webui)
    try:
        with Stack(say, gateway=True) as stack:
            say(f"Prefect  {ui_url()}")
            say(f"WebUI    {stack.addresses.webui_url}")
            say(f"queue    {stack.addresses.gateway_url} (a page; the WebUI's API, and its own: /openapi.json)")
            say(f"logs     {settings().home / 'logs'}")
            say("Ctrl-C stops everything.")
            stack.watch(threading.Event())
    except Stopped:
        say("stopped")
        return 0
    except (AlreadyUp, ChildDied, TimeoutError, ValueError) as error:
        complain(error)
        return 1
    return 0


@app.command
def run(
    job: Annotated[
        Path | None, Parameter(help="A file of one job or many, or a picture to paint again; else the example.")
    ] = None,
    *,
    paste: Annotated[bool, Parameter(help="Read an infotext from the standard input.", negative=())] = False,
    detach: Annotated[bool, Parameter(help="Queue it, and do not watch.", negative=())] = False,
    priority: Annotated[int, Parameter(help="Lower runs first.", allow_leading_hyphen=True)] = 0,
    start: Annotated[bool, Parameter(help="Start what is missing for the time of the run.")] = False,
    webui: Annotated[str | None, Parameter(help="A WebUI's address, for --start.")] = None,
) -> int:
    """Queue a job, watch it, and print where its pictures are. Ctrl-C leaves it in the queue."""
    from services.stack import AlreadyUp, Stack, running

    _stop_on_signals()
    _use_webui(webui)
    given = sys.stdin.read() if paste else job or PROJECT / "jobs" / "castle.yaml"
    try:
        if start and not detach and (os.environ.get(API) or not running()):
            if isinstance(given, Path) and not given.is_file():  # before anything is started for it
                raise ValueError(f"{given}: no such file")
            with Stack(say) as stack:
                return _run(given, priority, stops_with_us=stack.addresses.own_server, check=stack.keep_alive)
        need_prefect()
        if not detach:
            return _run(given, priority, leaves=not start)
        with queue_client() as client:
            from cli.given import queue_given

            say_queued(queue_given(client, given, priority))
            return 0
    except (Stopped, KeyboardInterrupt):
        say("stopped")
        return 130
    except (AlreadyUp, ChildDied, TimeoutError, ValueError) as error:
        complain(error)
        return 2 if isinstance(error, ValueError) else 1


def _use_webui(url: str | None) -> None:
    if url:
        os.environ["DARKROOM_WEBUI_URL"] = url


def _run(
    given: Path | str,
    priority: int,
    *,
    leaves: bool = False,
    stops_with_us: bool = False,
    check: Callable[[], None] = lambda: None,
) -> int:
    """Queue what was given and follow it. ``leaves``: Ctrl-C leaves it in the queue, else it is cancelled.
    ``stops_with_us``: the Prefect server was started for this run, so links into it die with it. ``check`` is called
    twice a second; what it raises ends the command.
    """
    from prefect.client.orchestration import get_client
    from rich.console import Console

    from cli.follow import Follower, report
    from cli.given import queue_given

    console = Console(soft_wrap=True)  # nothing is wrapped or cut, so that paths can be copied
    with get_client(sync_client=True) as client:
        task = queue_given(client, given, priority)
        watch = "queued {}; watch it there while it runs: {}" if stops_with_us else "queued {}: {}"
        say(watch.format(task.name, task.link))
        follower = Follower(client, task.id, console)
        try:
            ended = follower.until_ended(check)
        except Stopped:
            if leaves:
                say(f"{task.name} stays in the queue. To cancel it: darkroom queue cancel {task.id}")
                return 130
            ended = follower.cancel()
        return report(ended, None if stops_with_us else task.link, console)


@app.command
def capture(picture: Path, to: Annotated[Path | None, Parameter(help="A job file to write.")] = None) -> int:
    """The job that paints a WebUI's picture again, as YAML; what it can't carry over is said."""
    from backlog.capture import capture as read
    from backlog.task import InvalidJob

    try:
        captured = read(picture, picture.stem)
    except InvalidJob as error:
        complain(error)
        return 2
    for lost in captured.lost:
        complain(f"not carried over: {lost}")
    text = yaml.safe_dump(captured.job.parameters(), sort_keys=False, allow_unicode=True)
    to.write_text(text) if to else say(text, end="")
    return 0


@app.command
def bookmark(
    job: Annotated[str, Parameter(help="A job file, a picture, or the id of a task.")],
    name: Annotated[str, Parameter(help="Of the saved job: in the Prefect UI it is generate/NAME.")],
) -> int:
    """Save a job under a name, to run it again with changes, from the Prefect UI or on a timetable."""
    return _save(lambda client, given: given.save_given(client, job, name, say))


def _save(save: Callable[[Any, Any], int | None]) -> int:
    """``save`` is given a client and the module cli.given."""
    with queue_client() as client:
        from cli import given

        try:
            return save(client, given) or 0
        except ValueError as error:
            complain(error)
            return 2


@app.command
def deploy(
    file: Annotated[Path | None, Parameter(help="A job file with `when:`, to save with its timetable.")] = None,
    *,
    webui: Annotated[str | None, Parameter(help="Where the block webui/default shall point.")] = None,
    remove_leftovers: Annotated[bool, Parameter(help="Delete deployments that prefect.yaml no longer names.")] = False,
) -> int:
    """Put pool, blocks and deployments into an existing Prefect; or a job of yours on its timetable. Safe to repeat."""
    if file:
        return _save(lambda client, given: given.deploy_given(client, file, say))
    api = need_prefect(deployed=False)
    from deployments import form
    from deployments.bootstrap import bootstrap

    try:
        bootstrap(webui, say, remove_leftovers=remove_leftovers)
    except (TimeoutError, ValueError) as error:
        complain(error)
        return 1
    form.look()
    say(f"Prefect at {api} knows everything that a job needs.")
    return 0


@app.command
def worker() -> int:
    """Run what the pool hands out, and look after what must outlive a run."""
    need_prefect()
    # Events wake the worker; polling (seconds) is for what they miss. Runs are taken when they are due, not ahead:
    # one that waits for its time would hold the pool's place.
    use({"PREFECT_WORKER_QUERY_SECONDS": "5"})
    from worker.supervisor import main as work

    return work()


@app.command
def webui(*, port: Annotated[int, Parameter(help="0 takes a free one.")] = 7861) -> int:
    """The embedded WebUI alone, for machines that have no real one."""
    folder = str(settings().home / "webui")
    os.execv(sys.executable, [sys.executable, "-m", "webui.embedded", "--port", str(port), "--folder", folder])


@app.command
def plan() -> int:
    """What waits in the pool, in the order in which it would start, and why. Changes nothing."""
    need_prefect()
    import asyncio

    from prefect.client.orchestration import get_client

    from deployments.bootstrap import POOL
    from worker.order import Planner, Turn

    async def planned() -> list[Turn]:
        async with get_client() as client:
            return await Planner(client, POOL).turns()

    turns = asyncio.run(planned())
    for number, turn in enumerate(turns, start=1):
        say(f"{number:4}  {turn.run.name}  ({turn.reason})")
    if not turns:
        say("nothing waits")
    return 0


@app.command
def notify(
    *,
    to: Annotated[str | None, Parameter(help="A webhook's address, or a notification block's slug.")] = None,
    off: Annotated[bool, Parameter(help="Send no more.", negative=())] = False,
) -> int:
    """Send failed runs, an emptied queue and an absent WebUI to where you read it. Safe to repeat."""
    if (to is None) != off:
        complain("say where to: darkroom notify --to https://… (or slack-webhook/mine), or stop it: --off")
        return 2
    need_prefect()
    from cli.notify import NotSent, send_none, send_notices

    try:
        send_notices(to, say) if to else send_none(say)
    except (NotSent, ValueError) as error:
        complain(error)
        return 1
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
