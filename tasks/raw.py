"""A whole request of a client of the WebUI's API as a stage of its own: sent as it stands, answered as it was answered.

Only what makes a request stand alone is added: the checkpoint, the modules, a seed that is fixed, and our task id. The
WebUI's answer is kept whole beside the pictures, for the client to have.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from gpu.request import Request
from gpu.sender import Answer, Sender
from store.files import write_whole
from store.inputs import keep_picture, references
from store.picture import Picture
from store.settings import settings
from tasks.form import Form, field
from tasks.stage import Item, Settings, Stage, Step
from tasks.status import this_run
from webui.errors import CallFailed, is_transient

ANSWER = "answer"  # beside a run's pictures: the status, a line break, and the body as it came
MOST_PICTURES = 64  # of one request, which is painted and repeated as a whole
SHORTEST = 80  # characters of base64 that a picture has at least: a PNG of 1 × 1 pixel has about 90


class Raw(Form):
    """A request to the WebUI's API, as a client sent it."""

    endpoint: Literal["txt2img", "img2img", "extra-single-image"] = field(..., "Route", "Of /sdapi/v1.", 1)
    payload: dict[str, Any] = field(
        ..., "Payload", "Its JSON body. `n_iter` above 1 is repeated as a whole; pictures may be store references.", 2
    )

    @model_validator(mode="after")
    def _countable(self) -> Raw:
        if not 1 <= self.pictures <= MOST_PICTURES:
            raise ValueError(f"n_iter × batch_size makes {self.pictures} pictures: 1 to {MOST_PICTURES} are possible")
        return self

    @property
    def pictures(self) -> int:
        """How many come back."""
        if self.endpoint == "extra-single-image":
            return 1
        return _integer(self.payload, "n_iter", 1) * _integer(self.payload, "batch_size", 1)

    @property
    def seed(self) -> int:
        """Of the first picture; −1: to be drawn."""
        return 0 if self.endpoint == "extra-single-image" else _integer(self.payload, "seed", -1)

    def with_seed(self, seed: int) -> Raw:
        return Raw(endpoint=self.endpoint, payload=self.payload | {"seed": seed})

    @property
    def checkpoint(self) -> str:
        """The checkpoint that the payload itself names; empty: none."""
        overrides = self.payload.get("override_settings")
        return str(overrides.get("sd_model_checkpoint") or "") if isinstance(overrides, dict) else ""

    @property
    def files(self) -> list[str]:
        """References to the store's files that the payload holds."""
        return [f"store:{name}" for name in sorted(references(json.dumps(self.payload)))]

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height that must come back; None where scripts, hires fix or an init image decide it."""
        if self.endpoint != "txt2img" or self.payload.get("enable_hr") or self.payload.get("script_name"):
            return None
        return _integer(self.payload, "width", 512), _integer(self.payload, "height", 512)


def _integer(payload: dict[str, Any], name: str, default: int) -> int:
    """A whole number of a payload; what is none is the WebUI's to refuse."""
    value = payload.get(name, default)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


class RawStage(Stage[Raw]):
    name = "raw"
    endpoint = "txt2img"  # each form has its own

    def settings(self, form: Raw, before: Settings) -> Settings:
        sampling = before.sampling.model_copy(update={"prompt": str(form.payload.get("prompt") or "")})
        checkpoint = "" if form.endpoint == "extra-single-image" else form.checkpoint or before.checkpoint
        return Settings(sampling, checkpoint, form.size)

    def weight(self, step: Step[Raw]) -> float:
        return max(1, _integer(step.form.payload, "steps", 20))

    def requests(self, step: Step[Raw], item: Item) -> list[Request]:
        """One request for all the pictures of the payload."""
        form, checkpoint = step.form, item.checkpoint(step)
        payload = {name: value for name, value in form.payload.items() if name != "force_task_id"}
        if checkpoint is not None:
            given = payload.get("override_settings") or {}
            own = item.payload(step)
            payload |= {
                "override_settings": own["override_settings"] | given | {"sd_model_checkpoint": checkpoint.file},
                "override_settings_restore_afterwards": False,  # see tasks/sampling.fixed_fields
                "send_images": True,
                "seed": form.seed,
            }
        return [
            Request(
                stage=self.name,
                endpoint=form.endpoint,
                first=1,
                of=form.pictures,
                seeds=tuple(range(form.seed, form.seed + form.pictures)),
                size=form.size,
                payload=payload,
                checkpoint=checkpoint,
            )
        ]

    def paint(self, request: Request, sender: Sender) -> list[Picture]:
        """As every picture; what the WebUI refuses is kept as an answer, too."""
        try:
            return super().paint(request, sender)
        except CallFailed as error:
            if error.status and not is_transient(error):
                _keep(error.status, json.dumps(error.body).encode())
            raise

    def keep(self, answer: Answer) -> None:
        _keep(200, answer.received.content)


def answer_of(run: str) -> Path:
    """Where the WebUI's answer to a run's raw request lies once it is there."""
    return settings().runs / run / ANSWER


def _keep(status: int, body: bytes) -> None:
    write_whole(answer_of(str(this_run().id)), b"%d\n%s" % (status, body))


def with_pictures_stored(value: Any) -> Any:
    """A payload with its base64 pictures in the store and references in their place, wherever in it they are."""
    if isinstance(value, dict):
        return {name: with_pictures_stored(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_pictures_stored(inner) for inner in value]
    if isinstance(value, str) and len(value) >= SHORTEST:
        encoded = value.partition(",")[2] if value.startswith("data:") else value
        with suppress(ValueError):  # no base64, or no picture that the store takes: the WebUI's to judge
            return keep_picture(base64.b64decode(encoded, validate=True))
    return value


RAW = RawStage()
