"""The client of a WebUI's REST API: one method per endpoint."""

from __future__ import annotations

import logging
from typing import Any

from pydantic import BaseModel

from webui.errors import BadAnswer, CallFailed, NotFound, Unreachable, WebUIError
from webui.http import HTTPClient, Timeouts, encoded
from webui.models import Checkpoint, Generation, Names, ProgressInfo, TaskProgress

__all__ = ["Timeouts", "WebUIClient"]

logger = logging.getLogger(__name__)


class _Pending(BaseModel):
    tasks: list[str] = []


class _ADetailerModels(BaseModel):
    ad_model: list[str] = []


class WebUIClient(HTTPClient):
    """A WebUI's REST API. Every method raises a :class:`webui.errors.WebUIError`, save ``get_progress``."""

    # -- generating ----------------------------------------------------------------------------------------

    def txt2img(self, payload: dict[str, Any]) -> Generation:
        """``POST /sdapi/v1/txt2img``; blocks until the picture is there."""
        return self.send("txt2img", encoded(payload)).generation()

    def img2img(self, payload: dict[str, Any]) -> Generation:
        """``POST /sdapi/v1/img2img``; ``init_images`` and ``mask`` are base64."""
        return self.send("img2img", encoded(payload)).generation()

    def extra_single_image(self, payload: dict[str, Any]) -> bytes:
        """``POST /sdapi/v1/extra-single-image``: one upscaled picture, encoded."""
        return self.send("extra-single-image", encoded(payload)).image()

    # -- progress ------------------------------------------------------------------------------------------

    def get_progress(self, *, skip_current_image: bool = True) -> ProgressInfo | None:
        """``GET /sdapi/v1/progress``: the running job, whoever's it is; None when idle or when it failed."""
        try:
            info = self.job_state(skip_current_image=skip_current_image)
        except WebUIError as error:
            logger.debug("progress could not be had: %s", error)
            return None
        return info if info.state.running else None

    def task_progress(
        self, task_id: str, *, preview_id: int | None = None, timeout: float | None = None
    ) -> TaskProgress:
        """``POST /internal/progress`` of one task id; an id that it does not know has none of the three flags.

        Args:
            preview_id: of the last live preview, to be sent a newer one; −1 for any, None for none.

        Raises:
            NotFound: this WebUI has no ``/internal`` routes (``--nowebui``).
        """
        asked = {"id_task": task_id, "live_preview": preview_id is not None, "id_live_preview": -1}
        asked |= {} if preview_id is None else {"id_live_preview": preview_id}
        body = self._call("POST", "/internal/progress", json=asked, timeout=timeout or self.timeouts.progress)
        return self._parse(TaskProgress, "/internal/progress", body)

    def job_state(self, *, skip_current_image: bool = True, timeout: float | None = None) -> ProgressInfo:
        """``GET /sdapi/v1/progress``, idle or not."""
        params = {"skip_current_image": str(skip_current_image).lower()}
        return self._get(ProgressInfo, "/sdapi/v1/progress", params=params, timeout=timeout or self.timeouts.progress)

    def pending_tasks(self) -> list[str]:
        """``GET /internal/pending-tasks``: ids of the jobs that wait in the WebUI's own queue.

        Raises:
            NotFound: this WebUI has no ``/internal`` routes (``--nowebui``).
        """
        return self._get(_Pending, "/internal/pending-tasks", timeout=self.timeouts.progress).tasks

    def interrupt(self) -> None:
        """``POST /sdapi/v1/interrupt``: takes no id and hits whatever runs. Ask first whose it is."""
        self._call("POST", "/sdapi/v1/interrupt", json={}, timeout=self.timeouts.progress)

    def restart(self) -> bool:
        """``POST /sdapi/v1/server-restart``, which ends every job there; whether this WebUI can do that.

        404 and 405: it was started without ``--api-server-stop``; 501: with nothing that starts it again. A restart
        breaks the connection before its answer.
        """
        try:
            self._call("POST", "/sdapi/v1/server-restart", json={}, timeout=self.timeouts.progress)
        except Unreachable:
            return True
        except CallFailed as error:
            if error.status in (404, 405, 501):
                return False
            raise
        return True

    # -- what the WebUI has --------------------------------------------------------------------------------

    def checkpoints(self) -> list[Checkpoint]:
        """``GET /sdapi/v1/sd-models``."""
        return self._list(Checkpoint, "/sdapi/v1/sd-models")

    def refresh_checkpoints(self) -> None:
        """``POST /sdapi/v1/refresh-checkpoints``: new files are unseen before it. Waits behind a running job."""
        self._call("POST", "/sdapi/v1/refresh-checkpoints", json={}, timeout=self.timeouts.generation)

    def samplers(self) -> list[Names]:
        """``GET /sdapi/v1/samplers``. Requests must use ``name``: an alias silently becomes another sampler."""
        return self._list(Names, "/sdapi/v1/samplers")

    def schedulers(self) -> list[Names]:
        """``GET /sdapi/v1/schedulers``: both ``name`` and ``label`` may be used."""
        return self._list(Names, "/sdapi/v1/schedulers")

    def upscalers(self) -> list[Names]:
        """``GET /sdapi/v1/upscalers``."""
        return self._list(Names, "/sdapi/v1/upscalers")

    def latent_upscale_modes(self) -> list[Names]:
        """``GET /sdapi/v1/latent-upscale-modes``: further upscalers that hires fix takes."""
        return self._list(Names, "/sdapi/v1/latent-upscale-modes")

    def styles(self) -> list[Names]:
        """``GET /sdapi/v1/prompt-styles``."""
        return self._list(Names, "/sdapi/v1/prompt-styles")

    def loras(self) -> list[Names]:
        """``GET /sdapi/v1/loras``; empty where the WebUI has no LoRA extension."""
        try:
            return self._list(Names, "/sdapi/v1/loras")
        except NotFound:
            return []

    def vaes(self) -> list[Names]:
        """Forge's ``sd-modules``, or AUTOMATIC1111's ``sd-vae``."""
        return self._list(Names, "/sdapi/v1/sd-modules" if self.is_forge() else "/sdapi/v1/sd-vae")

    def is_forge(self) -> bool:
        """Whether this is Forge, not AUTOMATIC1111; a NotFound where it looks like neither, as while it starts."""
        try:
            self._call("GET", "/sdapi/v1/sd-modules")
        except NotFound:
            self._call("GET", "/sdapi/v1/sd-vae")
            return False
        return True

    def scripts(self) -> dict[str, list[str]]:
        """``GET /sdapi/v1/scripts``: lower-case titles for ``txt2img`` and ``img2img``."""
        return self._get(dict[str, list[str]], "/sdapi/v1/scripts")

    def options(self, *, timeout: float | None = None) -> dict[str, Any]:
        """``GET /sdapi/v1/options``."""
        return self._get(dict[str, Any], "/sdapi/v1/options", timeout=timeout)

    def openapi(self) -> dict[str, Any]:
        """``GET /openapi.json``: the schema of every route; empty where the WebUI does not publish it."""
        try:
            return self._get(dict[str, Any], "/openapi.json")
        except (CallFailed, BadAnswer):
            return {}

    def adetailer_models(self) -> list[str]:
        """``GET /adetailer/v1/ad_model``; empty where ADetailer is not installed."""
        try:
            return self._get(_ADetailerModels, "/adetailer/v1/ad_model").ad_model
        except NotFound:
            return []

    def adetailer_schema(self) -> dict[str, Any]:
        """``GET /adetailer/v1/schema``: the JSON schema of one ADetailer pass.

        Raises:
            NotFound: ADetailer is not installed.
        """
        return self._get(dict[str, Any], "/adetailer/v1/schema")

    def adetailer_version(self) -> str | None:
        """``GET /adetailer/v1/version``; None where ADetailer is not installed."""
        try:
            body = self._call("GET", "/adetailer/v1/version")
        except NotFound:
            return None
        return str(body.get("version")) if isinstance(body, dict) else str(body)
