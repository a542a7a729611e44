"""What the WebUI has: the names that a form offers, and what is wrong with those that a job gives."""

from __future__ import annotations

import time
from typing import Any

from tasks.inventory import Inventory, near
from webui.client import WebUIClient
from webui.errors import WebUIError
from webui.models import Checkpoint, Names

KEPT_FOR = 60.0  # seconds that the lists are offered before the WebUI is asked again
# A form's fields that hold names: the client's methods that list them, and the field's name in the WebUI's API.
FIELDS = {
    "checkpoint": (["checkpoints"], "checkpoint"),
    "vae": (["vaes"], "forge_additional_modules"),
    "styles": (["styles"], "styles"),
    "sampler_name": (["samplers"], "sampler_name"),
    "scheduler": (["schedulers"], "scheduler"),
    "hr_upscaler": (["latent_upscale_modes", "upscalers"], "hr_upscaler"),
    "upscaler": (["upscalers"], "upscaler_1"),
    "ad_model": (["adetailer_models"], "ad_model"),
}
LISTS = sorted({one for lists, _ in FIELDS.values() for one in lists} | {"loras"})


class Offered:
    """The lists of one WebUI, as they were when it was asked; all are empty where it can't be asked.

    Attributes:
        problem: why it can't; empty: it could.
    """

    def __init__(self, client: WebUIClient) -> None:
        self.asked, self.problem = time.monotonic(), ""
        self._inventory = Inventory(client)
        try:
            self._inventory.have(*LISTS)
        except WebUIError as error:
            self.problem = f"Names are not offered, and not checked: {error}"

    def names(self, *lists: str) -> list[str]:
        """What a person chooses from."""
        if self.problem:
            return []
        return list(dict.fromkeys(_name(one) for what in lists for one in self._inventory.have(what)))

    def wrong(self, field: str, value: Any) -> str:
        """What is wrong with the names in a field of a form, or with the LoRAs of a prompt; empty: nothing."""
        if self.problem or not value:
            return ""
        if field == "checkpoint":  # not the inventory's way, which refreshes the WebUI's list: that waits for its job
            known: list[Checkpoint] = self._inventory.have("checkpoints")
            found = any(one.is_called(str(value)) for one in known)
            return "" if found else f"the WebUI has no checkpoint {value!r}{near(str(value), map(_name, known))}"
        self._inventory.problems = []
        self._inventory.names({FIELDS[field][1] if field in FIELDS else field: value})
        return "; ".join(self._inventory.problems)


def _name(one: Checkpoint | Names | str) -> str:
    return one if isinstance(one, str) else one.stem if isinstance(one, Checkpoint) else one.label or one.name


_kept: dict[str, Offered] = {}  # by the WebUI's address


def offered(client: WebUIClient) -> Offered:
    """What it has, asked for at most once a minute."""
    kept = _kept.get(client.base_url)
    if kept is None or kept.problem or time.monotonic() > kept.asked + KEPT_FOR:
        kept = _kept[client.base_url] = Offered(client)
    return kept
