"""A Queue button beside Generate: what the page holds goes to Darkroom's queue instead of to the GPU at once.

For Stable Diffusion WebUI Forge (Gradio 4) and AUTOMATIC1111 1.10 (Gradio 3). The request is the one that the WebUI's
API takes: the fields of the WebUI's own processing object, and the arguments of every script by its title.
"""

import base64
import contextlib
import copy
import enum
import html
import importlib
import inspect
import io
import math
import os
import types
from pathlib import Path

import gradio as gr
import modules.scripts
import numpy as np
import requests
from modules import script_callbacks, shared
from PIL import Image

TABS = {"txt2img": "Txt2Img", "img2img": "Img2Img"}  # with their part in the names of the API's models
ADDRESS = "darkroom_address"  # the name of the WebUI's option
OPTION = ADDRESS, shared.OptionInfo("http://127.0.0.1:7862", "Address of the queue", section=("darkroom", "Darkroom"))
# user:password of a queue with a public address. Not an option: the WebUI's API shows those to everybody.
AUTH = "DARKROOM_QUEUE_AUTH"
TIMEOUT = (3, 60)  # seconds to connect, and for each answer
# Fields of the API that say what becomes of the answer, or are set otherwise.
NOT_OF_THE_PAGE = {"comments", "do_not_save_grid", "do_not_save_samples", "force_task_id", "mask", "override_settings"}
NOT_OF_THE_PAGE |= {"override_settings_restore_afterwards", "sampler_index", "script_args"}

buttons = {}  # of each tab: Queue, and the line that says what became of it


class NotQueued(Exception):
    """The page can't be queued; the message says why, and what to do."""


class _Prepared(Exception):
    """Its argument is what the WebUI is about to paint."""


def prepared(tab, request, values):
    """The WebUI's processing object for ``values``, the inputs of Generate's own click.

    The WebUI makes it and paints it in one function. A copy of that function is called, in which the name ``modules``,
    by which it finds the runner of scripts, leads to a runner that stops where painting would begin.

    Raises:
        NotQueued: there is no such object.
    """
    home = importlib.import_module(f"modules.{tab}")
    function = inspect.unwrap(getattr(home, f"{tab}_function", None) or getattr(home, tab))
    if function.__globals__ is not vars(home):
        raise NotQueued(f"another extension ({function.__module__}) has replaced the WebUI's {tab}: switch it off")
    runner = copy.copy(getattr(modules.scripts, f"scripts_{tab}"))
    runner.run = _stop
    names = {
        **vars(home),
        "modules": types.SimpleNamespace(scripts=types.SimpleNamespace(**{f"scripts_{tab}": runner})),
        "closing": contextlib.nullcontext,  # the object is still needed
        "process_batch": _stop,
    }
    stopping = types.FunctionType(function.__code__, names, argdefs=function.__defaults__)
    try:
        stopping(values[0], request, *values[1:])
    except _Prepared as found:
        return found.args[0]
    except AssertionError as error:  # how the WebUI says that a picture is missing
        raise NotQueued(f"the WebUI refuses it: {error}") from None
    raise NotQueued(f"this WebUI has another {tab} than Forge and AUTOMATIC1111 1.10")


def _stop(p, *_args, **_named):
    raise _Prepared(p)


def payload_of(p, tab):
    """What the WebUI's API takes to paint the same; and what of the page it can't hold, a sentence each.

    Raises:
        NotQueued: without what it can't hold, it would be another picture.
    """
    model = getattr(importlib.import_module("modules.api.models"), f"StableDiffusion{TABS[tab]}ProcessingAPI")
    fields = getattr(model, "model_fields", None) or model.__fields__  # pydantic 2, or 1
    held = {name: getattr(p, name, None) for name in fields if name not in NOT_OF_THE_PAGE}
    held["mask"] = getattr(p, "image_mask", None)  # where the processing object puts it
    held["override_settings"] = {**_selected(), **(p.override_settings or {})}
    if held.get("init_images") == [None]:
        raise NotQueued("there is no picture to start from (those of the tab Batch can be queued one by one)")
    if number := p.script_args[0]:
        script = p.scripts.selectable_scripts[number - 1]
        held |= {"script_name": script.title(), "script_args": _arguments(p, script)}
    try:
        payload = {name: _json(value, name) for name, value in held.items() if value is not None}
    except TypeError as error:
        raise NotQueued(f"{error} can't be sent as JSON") from None
    always, left_out = {}, []
    for script in p.scripts.alwayson_scripts:
        # Scripts with setup_for_ui_only are parts of the page: what they hold is in fields of ``p``.
        if (arguments := _arguments(p, script)) and not script.setup_for_ui_only:
            try:
                always[script.title()] = {"args": _json(arguments, script.title())}
            except TypeError as error:
                left_out.append(f"without {script.title()}: {error} can't be sent as JSON")
    return {**payload, "alwayson_scripts": always}, left_out


def _arguments(p, script):
    return list(p.script_args[script.args_from or 0 : script.args_to or 0])  # None: it is not on the page


def _selected():
    """What is selected at the top of the page: Forge has modules (VAE and text encoders) in place of one VAE."""
    opts = shared.opts
    found = {"sd_model_checkpoint": opts.sd_model_checkpoint, "CLIP_stop_at_last_layers": opts.CLIP_stop_at_last_layers}
    if hasattr(opts, "forge_additional_modules"):
        return {**found, "forge_additional_modules": [Path(path).name for path in opts.forge_additional_modules]}
    return {**found, "sd_vae": opts.sd_vae}


def _json(value, where):
    """A value of the page as JSON: a picture as base64, a unit of ControlNet as its fields.

    Raises:
        TypeError: it can't be written; the message says where it is and what it is.
    """
    if value is None or isinstance(value, int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, enum.Enum):
        return _json(value.value, where)
    if isinstance(value, list | tuple):
        return [_json(one, f"{where}[{number}]") for number, one in enumerate(value)]
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim in (2, 3):
        value = Image.fromarray(value)
    if isinstance(value, Image.Image):
        value.save(png := io.BytesIO(), "PNG")
        return base64.b64encode(png.getvalue()).decode()
    if hasattr(value, "enabled") and hasattr(value, "module"):
        value = _unit(value, where)
    if isinstance(value, dict):
        return {str(name): _json(one, f"{where}.{name}") for name, one in value.items()}
    raise TypeError(f"{where} ({type(value).__name__})")


def _unit(unit, where):
    """A unit of ControlNet for its API. Forge's API has one picture and one mask where its page has layers of a canvas;
    they are chosen here as Forge chooses them for the page."""
    fields = dict(vars(unit)) if unit.enabled else {"enabled": False}
    if getattr(fields.get("input_mode"), "value", "simple") != "simple":
        raise TypeError(f"{where}, whose pictures are files of this machine,")
    if "image_fg" in fields:
        drawn, mask_drawn = (_drawn(fields.pop(name)) for name in ("image_fg", "mask_image_fg"))
        preview, image, mask = fields.pop("generated_image"), fields["image"], fields["mask_image"]
        if fields.pop("use_preview_as_input") and preview is not None:
            fields |= {"image": preview, "module": "None"}
        elif image is not None and drawn is not None and (image < 5).all():
            fields["image"] = drawn
        given = mask if mask is not None and (mask > 5).any() else drawn
        fields["mask_image"] = given if mask_drawn is None else mask_drawn
    return fields


def _drawn(layer):
    """The opacity of a layer of a canvas; None: nothing is drawn on it."""
    return layer[:, :, 3] if layer is not None and (layer[:, :, 3] > 5).any() else None


def send(tab, payload, address):
    """Queue the payload; returns where it stands, in words.

    Raises:
        NotQueued: the queue did not take it, or is not there.
    """
    with requests.Session() as session:
        session.trust_env = False  # a proxy of the environment is for downloads, not for this machine
        session.headers["User-Agent"] = "darkroom-queue-button"
        session.auth = tuple(os.environ[AUTH].partition(":")[::2]) if os.environ.get(AUTH) else None
        try:
            answer = session.post(f"{address}/task-scheduler/queue/{tab}", json=payload, timeout=TIMEOUT)
            if answer.status_code == 401:
                raise NotQueued(f"the queue wants a password: start the WebUI with {AUTH}=user:password")
            if answer.status_code != 201:
                raise NotQueued(f"the queue answered {answer.status_code}: {answer.text[:500]}")
            waiting = session.get(f"{address}/internal/pending-tasks", timeout=TIMEOUT).json()
            task, before, size = answer.json()["id"], waiting["tasks"], waiting["size"]
        except (requests.RequestException, ValueError, LookupError) as error:
            kind = type(error).__name__
            raise NotQueued(f"no queue answers ({kind}): start `darkroom up`, or correct Settings, Darkroom") from None
    if task not in before:  # they are the first 200
        return f"{size} wait" if size > len(before) else "it is next"
    return f"number {before.index(task) + 1} of {size} that wait"


def queue(tab, request, values):
    """Queue what the page holds; returns HTML that says what became of it."""
    address = getattr(shared.opts, ADDRESS).rstrip("/")
    try:
        payload, left_out = payload_of(prepared(tab, request, values), tab)
        told = [f"Queued: {send(tab, payload, address)}", *left_out]
    except NotQueued as error:
        told = [f"Not queued: {error}"]
    said = html.escape("; ".join(told))
    return f'{said} · <a href="{html.escape(address)}" target="_blank">the queue</a>'


def clicks(block, button):
    """What a click on a button of the page calls: Gradio's functions, with their inputs and outputs."""
    if isinstance(block.fns, dict):  # Gradio 4
        return [one for one in block.fns.values() if (button._id, "click") in one.targets]
    called = zip(block.dependencies, block.fns, strict=True)
    return [one for told, one in called if told["trigger"] == "click" and button._id in told["targets"]]


def bind(block, _app):
    """Give each Queue button the inputs of Generate's own click, when the page is complete."""
    for tab, (button, line) in buttons.items() if block else ():
        generate = next(one for one in block.blocks.values() if one.elem_id == f"{tab}_generate")
        called = clicks(block, generate)
        inputs = max((one.inputs for one in called), key=len)  # the others bring single parts of the page up to date

        def clicked(request: gr.Request, *values, tab=tab):
            return queue(tab, request, values)

        # On AUTOMATIC1111 the page's own code puts the number of img2img's tab into the second value.
        number = "args[1] = get_tab_index('mode_img2img'); " if tab == "img2img" and gr.__version__ < "4" else ""
        with block:
            event = button.click
            for one in called:
                if one.outputs and all(isinstance(output, gr.State) for output in one.outputs):  # ControlNet's units
                    event = event(fn=one.fn, inputs=one.inputs, outputs=one.outputs, show_progress=False).then
            script = f"(...args) => {{ {number}return args.slice(0, {len(inputs)}); }}"  # without the outputs
            event(fn=clicked, _js=script, inputs=inputs, outputs=[line], show_progress=False)


def add_button(_component, elem_id=None, **_kwargs):
    """Before the row of tools, so below Generate: not beside it, where Skip and Interrupt cover all there is."""
    tab = str(elem_id).removesuffix("_tools")
    if tab in TABS and tab != elem_id:
        buttons[tab] = gr.Button("Queue", elem_id=f"{tab}_queue"), gr.HTML(elem_id=f"{tab}_queued")


script_callbacks.on_before_component(add_button)
script_callbacks.on_app_started(bind)
script_callbacks.on_ui_settings(lambda: shared.opts.add_option(*OPTION))
