"""A stage that Darkroom does not have: repaint each picture once more, with a checkpoint of its own."""

from __future__ import annotations

from typing import Any

from gpu.request import Request
from pictures.checks import Painted
from store.picture import Picture
from tasks.form import StageForm, extra_field, field
from tasks.inventory import Inventory
from tasks.stage import Item, Settings, Stage, Step
from webui.models import ImageInfo


class Glaze(StageForm):
    """Repaint each picture with few steps."""

    checkpoint: str = field(..., "Checkpoint", "The checkpoint of this stage.", 1)
    strength: float = field(0.2, "Strength", "0 to 1.", 2, ge=0, le=1)
    sampler_name: str = field("Euler", "Sampler", "As the WebUI lists it.", 3)
    extra: dict[str, Any] = extra_field('{"resize_mode": 1}')


class GlazeStage(Stage[Glaze]):
    name = "glaze"
    endpoint = "img2img"

    def settings(self, form: Glaze, before: Settings) -> Settings:
        return Settings(before.sampling.changed_by(form), form.checkpoint, before.size)

    def look_up(self, step: Step[Glaze], inventory: Inventory) -> None:
        inventory.payload(self.endpoint, step.settings.sampling.payload(), {})

    def fields(self, step: Step[Glaze], item: Item, number: int, picture: Picture) -> dict[str, Any]:
        own: dict[str, Any] = {"width": picture.width, "height": picture.height, "seed": picture.seed, "batch_size": 1}
        own["denoising_strength"] = step.form.strength
        return {"payload": step.form.with_extra(item.payload(step) | own)}

    def judge(self, request: Request, info: ImageInfo, painted: Painted, infotext: str) -> tuple[str, str]:
        return "glazed", infotext


GLAZE = GlazeStage()
