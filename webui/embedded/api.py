"""The routes of /sdapi/v1 (and those that extensions of a real WebUI add), as recorded."""

from __future__ import annotations

import json
import platform
import secrets
import time
from collections.abc import Callable
from typing import Any, NoReturn

import psutil
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import Field, create_model

from webui.embedded import images, list_schemas, schemas
from webui.embedded.catalogue import DATA
from webui.embedded.engine import Engine
from webui.embedded.generation_api import GenerationApi
from webui.embedded.generation_info import VERSION
from webui.embedded.lists_api import Lists
from webui.embedded.options import OptionsModel
from webui.embedded.scripts import Scripts

_FLAG_TYPES: dict[str, Any] = {
    name: (str | None if default is None else type(default), Field(default=default))
    for name, default in DATA["flags"].items()
}
Flags = create_model("Flags", **_FLAG_TYPES)


class Api:
    """Endpoints carry comments in the place of docstrings, which FastAPI would publish: the OpenAPI document
    is compared with the recorded one.

    `port`, `api_auth`, `can_stop` and `on_restart` are what the server was started with."""

    def __init__(
        self,
        engine: Engine,
        *,
        port: int | None,
        api_auth: str | None,
        can_stop: bool,
        on_restart: Callable[[], NoReturn] | None,
    ) -> None:
        self.engine = engine
        self._port = port
        self._users: dict[str, str] = {}
        for pair in (api_auth or "").split(","):
            user, colon, password = pair.partition(":")
            if colon:
                self._users[user] = password
        self._can_stop = can_stop
        self._on_restart = on_restart

    # -- access ------------------------------------------------------------------------------------------

    def _authorise(self, credentials: HTTPBasicCredentials = Depends(HTTPBasic())) -> bool:
        expected = self._users.get(credentials.username)
        if expected is not None and secrets.compare_digest(credentials.password.encode(), expected.encode()):
            return True
        raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Basic"})

    # -- progress ----------------------------------------------------------------------------------------

    def progressapi(self, skip_current_image: bool = False) -> schemas.ProgressResponse:
        # About whatever runs: there is no task id here.
        state = self.engine.state
        job_count, job_no = state.job_count, state.job_no
        if job_count == 0:
            return schemas.ProgressResponse(progress=0, eta_relative=0, state=state.dict(), textinfo=state.textinfo)
        progress = 0.01  # the real one's way around a division by zero; it stays in every answer
        if job_count > 0:
            progress += job_no / job_count
        if state.sampling_steps > 0:
            progress += 1 / job_count * state.sampling_step / state.sampling_steps
        since = time.time() - (state.time_start or 0)
        eta = since / progress - since
        state.set_current_image()
        image = None
        if state.current_image and not skip_current_image:
            image = images.encode(state.current_image)
        return schemas.ProgressResponse(
            progress=min(progress, 1),
            eta_relative=eta,
            state=state.dict(),
            current_image=image,
            textinfo=state.textinfo,
        )

    def interruptapi(self) -> dict[str, Any]:
        self.engine.state.interrupt()
        return {}

    def skip(self) -> None:
        self.engine.state.skip()

    # -- options -----------------------------------------------------------------------------------------

    def get_config(self) -> Any:
        return self.engine.options.answer()

    def set_config(self, req: dict[str, Any]) -> None:
        engine = self.engine
        if engine.settings.forge:
            engine.settings.set_config(req)
            return
        engine.settings.set_config(req)
        if "sd_model_checkpoint" in req:
            with engine.job_queue.lock():
                engine.load_model()

    def get_cmd_flags(self) -> Any:
        # A server that was started with --port can't answer this: its port is no text (recorded).
        folder = str(self.engine.folder)
        return {
            **DATA["flags"],
            **DATA["flags_given"],
            "data_dir": folder,
            "gfpgan_dir": f"{folder}/GFPGAN",
            "ui_settings_file": f"{folder}/config.json",
            "styles_file": [f"{folder}/styles.csv", f"{folder}/styles_integrated.csv"],
            "port": self._port,
            # Of the page: seen only where the answer is not held against its model.
            "webui_is_non_local": False,
            "disable_extension_access": False,
        }

    def quicksettings_hint(self) -> list[Any]:
        return [{"name": name, "label": label} for name, label in self.engine.options.labels.items()]

    # -- models ------------------------------------------------------------------------------------------

    def refresh_checkpoints(self) -> None:
        with self.engine.job_queue.lock():
            self.engine.refresh_checkpoints()

    def refresh_vae(self) -> None:
        with self.engine.job_queue.lock():
            self.engine.settings.modules()

    def refresh_embeddings(self) -> None:
        with self.engine.job_queue.lock():
            return

    def refresh_loras(self) -> None:
        return

    def unloadapi(self) -> dict[str, Any]:
        return {}

    def reloadapi(self) -> dict[str, Any]:
        # Moves the model to the device; it loads nothing.
        return {}

    def get_memory(self) -> list_schemas.MemoryResponse:
        used = psutil.Process().memory_info().rss
        share = psutil.Process().memory_percent()
        total = 100 * used / share
        ram = {"free": total - used, "used": used, "total": total}
        return list_schemas.MemoryResponse(ram=ram, cuda={"error": "unavailable"})

    # -- the server --------------------------------------------------------------------------------------

    def stop_webui(self) -> Response:
        self.engine.state.server_command = "stop"
        return Response("Stopping.")

    def kill_webui(self) -> None:
        self.engine.state.server_command = "kill"

    def restart_webui(self) -> Response:
        # Without something that starts it again the real one answers 501 too.
        if self._on_restart:
            self._on_restart()
        return Response(status_code=501)

    def download_sysinfo(self, attachment: Any = False) -> Response:
        # What a bug report asks for; open to all, as in the real one, so nothing of it is secret.
        now = time.strftime("%Y-%m-%d-%H-%M")
        text = json.dumps(
            {
                "Platform": platform.platform(),
                "Python": platform.python_version(),
                "Version": VERSION,
                "Painter": "a stand-in, not Stable Diffusion",
                "Config": self.engine.options.answer(),
            },
            indent=4,
            default=str,
        )
        shown = "attachment" if attachment else "inline"
        disposition = f'{shown}; filename="sysinfo-{now}.json"'
        return PlainTextResponse(text, headers={"Content-Disposition": disposition})

    # -- routes ------------------------------------------------------------------------------------------

    def add_routes(self, app: FastAPI, scripts: Scripts) -> None:
        guard = [Depends(self._authorise)] if self._users else []
        core = APIRouter(prefix="/sdapi/v1", dependencies=guard)
        GenerationApi(self.engine, scripts).add_routes(core)
        lists = Lists(self.engine)
        lists.add_routes(core)
        core.get("/progress", response_model=schemas.ProgressResponse)(self.progressapi)
        core.post("/interrupt", response_model=None)(self.interruptapi)
        core.post("/skip", response_model=None)(self.skip)
        core.get("/options", response_model=OptionsModel)(self.get_config)
        core.post("/options", response_model=None)(self.set_config)
        core.get("/cmd-flags", response_model=Flags)(self.get_cmd_flags)
        core.post("/refresh-embeddings", response_model=None)(self.refresh_embeddings)
        core.post("/refresh-checkpoints", response_model=None)(self.refresh_checkpoints)
        core.post("/refresh-vae", response_model=None)(self.refresh_vae)
        core.get("/memory", response_model=list_schemas.MemoryResponse)(self.get_memory)
        core.post("/unload-checkpoint", response_model=None)(self.unloadapi)
        core.post("/reload-checkpoint", response_model=None)(self.reloadapi)
        if self._can_stop:
            core.post("/server-kill", response_model=None)(self.kill_webui)
            core.post("/server-restart", response_model=None)(self.restart_webui)
            core.post("/server-stop", response_model=None)(self.stop_webui)
        app.include_router(core)
        lists.add_extension_routes(app)
        app.post("/sdapi/v1/refresh-loras")(self.refresh_loras)

    def add_page_routes(self, app: FastAPI) -> None:
        """What the page of a real WebUI uses besides progress; a server without a page lacks them."""
        app.get("/internal/ping")(lambda: {})
        app.get("/internal/quicksettings-hint", response_model=list[list_schemas.QuicksettingsHint])(
            self.quicksettings_hint
        )
        app.get("/internal/sysinfo")(self.download_sysinfo)
