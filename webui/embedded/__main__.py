"""python -m webui.embedded --port 7861"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from webui.embedded.server import EmbeddedWebUI, PortInUse


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m webui.embedded",
        description="A WebUI for machines that have none: the API of Stable Diffusion WebUI Forge with a "
        "stand-in painter, not Stable Diffusion.",
    )
    parser.add_argument("--port", type=int, default=7861, help="0 takes a free one (default: 7861)")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--folder", type=Path, help="where models, styles and config.json live")
    parser.add_argument("--api-auth", metavar="USER:PASSWORD")
    parser.add_argument("--step-time", type=float, default=0.0, help="seconds a sampling step takes")
    parser.add_argument("--load-time", type=float, default=0.0, help="seconds that loading a model takes")
    parser.add_argument("--faults", action="store_true", help="serve /faults: failures on demand")
    parser.add_argument("--nowebui", action="store_true", help="no /internal/* routes")
    parser.add_argument("--job-log", type=Path, metavar="FILE", help="one JSON line for each job")
    parser.add_argument("--a1111", action="store_true", help="AUTOMATIC1111's ways where they differ")
    parser.add_argument("--api-server-stop", action="store_true", help="serve server-stop and the like")
    parser.add_argument("--restartable", action="store_true", help="server-restart works; needs --folder")
    parser.add_argument("--startup-time", type=float, default=0.0, help="seconds of 404 after the port opens")
    given = parser.parse_args()
    if given.restartable and not given.folder:
        parser.error("--restartable needs --folder: what a restart finds again")

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    webui = EmbeddedWebUI(
        port=given.port,
        host=given.host,
        folder=given.folder,
        api_auth=given.api_auth,
        step_time=given.step_time,
        load_time=given.load_time,
        faults=given.faults,
        nowebui=given.nowebui,
        job_log=given.job_log,
        forge=not given.a1111,
        can_stop=given.api_server_stop,
        startup_time=given.startup_time,
        on_restart=(lambda: _start_anew(webui.port)) if given.restartable else None,
    )
    try:
        webui.start()
    except PortInUse as error:
        webui.stop()
        print(f"The embedded WebUI can't start: {error}.", file=sys.stderr)
        return 1
    print(f"Embedded WebUI (a stand-in painter, not Stable Diffusion) on {webui.url}", flush=True)
    ended.wait()
    webui.stop()
    return 0


def _start_anew(port: int) -> NoReturn:
    """Replace this process by a new one on the same port. Connections break, jobs are gone, also those that hang."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "webui.embedded", *sys.argv[1:], "--port", str(port)])


if __name__ == "__main__":
    sys.exit(main())
