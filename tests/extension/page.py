"""A WebUI's page with the extension in it: the stand-ins of the WebUI's modules and of Gradio beside this file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

EXTENSION = Path(__file__).resolve().parents[2] / "extension"
STAND_IN = Path(__file__).parent / "webui"
OPTIONS = {
    "outdir": "outputs",
    "sd_model_checkpoint": "ink.safetensors",
    "CLIP_stop_at_last_layers": 2,
    "forge_additional_modules": ["/srv/webui/models/VAE/soft.safetensors"],
}
# Values of the scripts as the page has them, in the order of modules.scripts: the number of the selected script first.
ALWAYS = ["Sampler", "Seed", "ControlNet", "Never OOM Integrated", "StyleAlign Integrated"]
SCRIPTS: dict[str, list[Any]] = {
    "selected": [0],
    "Sampler": [2, "Euler", "Automatic"],
    "Seed": [5, -1],
    "ControlNet": [None, None],
    "Never OOM Integrated": [False, False],
    "StyleAlign Integrated": [0.5, "thing"],
    "X/Y/Z plot": ["Seed", "1, 2"],
    "Prompt matrix": [False],
}
TXT2IMG = {
    "id_task": "",
    "prompt": "a boat",
    "negative_prompt": "",
    "styles": [],
    "width": 64,
    "height": 64,
    "hr": False,
}
IMG2IMG = {"id_task": "", "mode": 0, "prompt": "a boat", "init_img": None, "init_mask": None, "scale_tab": 0}
IMG2IMG |= {"width": 64, "height": 64, "scale_by": 1.0, "folder": ""}


class Page:
    """The page: clicks on its Queue buttons are answered with the HTML that they show."""

    def __init__(self, gradio: ModuleType, extension: ModuleType, shared: ModuleType, version: int) -> None:
        from modules import script_callbacks  # the stand-in

        self.extension, self.options, self.painted = extension, shared.opts, list[str]()
        self._gradio = gradio
        self.block = gradio.Blocks(version)
        for callback in script_callbacks.ui_settings:
            callback()
        with self.block:
            for tab in ("txt2img", "img2img"):
                self._make(tab)
        for callback in script_callbacks.app_started:
            callback(self.block, None)

    def _make(self, tab: str) -> None:
        gradio = self._gradio
        generate = gradio.Button("Generate", elem_id=f"{tab}_generate")
        gradio.Row(elem_id=f"{tab}_tools")
        weight, unit = gradio.Component(1.0), gradio.State()
        fields = TXT2IMG if tab == "txt2img" else IMG2IMG
        inputs = [gradio.Component() for _ in [*fields, *(one for values in SCRIPTS.values() for one in values)]]
        generate.click(fn=lambda weight: f"unit of {weight}", inputs=[weight], outputs=[unit])
        generate.click(fn=lambda *values: self.painted.append(tab), inputs=inputs, outputs=[gradio.HTML()])

    def queue_button(self, tab: str) -> list[Any]:
        """The functions that a click on Queue calls, one after the other."""
        button = next(one for one in self.block.blocks.values() if one.elem_id == f"{tab}_queue")
        number = next(n for n, one in enumerate(self.block.functions) if (button._id, "click") in one.targets)
        return self.block.functions[number : number + 2]

    def queue(self, tab: str = "txt2img", scripts: dict[str, list[Any]] | None = None, **fields: Any) -> str:
        """Click on Queue, with these values of the page's fields and of scripts; returns what the page shows then."""
        given = (TXT2IMG if tab == "txt2img" else IMG2IMG) | fields
        values = [*given.values(), *(one for values in (SCRIPTS | (scripts or {})).values() for one in values)]
        function = self.queue_button(tab)[-1]
        assert len(function.inputs) == len(values)
        return str(function.fn(self._gradio.Request(), *values))


@contextmanager
def opened(version: int = 4, *, forge: bool = True) -> Iterator[Page]:
    """A page of Gradio 3 or 4, as AUTOMATIC1111 and Forge have."""
    before = set(sys.modules)
    sys.path.insert(0, str(STAND_IN))
    try:
        import gradio  # the stand-in
        from modules import shared  # the stand-in

        gradio.__version__ = "4.40.0" if version == 4 else "3.41.2"
        shared.opts.data |= OPTIONS
        if not forge:
            del shared.opts.data["forge_additional_modules"]
            shared.opts.data["sd_vae"] = "soft.safetensors"
        told = importlib.util.spec_from_file_location("darkroom_queue", EXTENSION / "scripts" / "darkroom_queue.py")
        assert told is not None and told.loader is not None
        extension = importlib.util.module_from_spec(told)
        told.loader.exec_module(extension)
        yield Page(gradio, extension, shared, version)
    finally:
        sys.path.remove(str(STAND_IN))
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("gradio", "modules"):
                del sys.modules[name]
