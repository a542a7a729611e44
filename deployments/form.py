"""The forms of ``generate`` and ``batch`` in the Prefect UI offer the names that the WebUI has.

A form is made of its deployment's schema of parameters, against which Prefect's server also checks each run's. So a
field with names becomes a choice between those of the WebUI and any other text: a hash, a stem or a new file is right
too. A field that may be null is shown without a switch before it; null is taken as before, because the server lets
every field without a default be null.

Only these two deployments, which carry no schedules: an update deletes the runs that schedules have laid out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import closing, suppress
from copy import deepcopy
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.exceptions import ObjectNotFound

from blocks.connection import WebUI
from webui.client import WebUIClient
from webui.errors import WebUIError

FORMS = ("generate/generate", "batch/batch")
LOOK_EVERY = 60.0  # seconds between two looks at the WebUI's lists
MOST = 500  # names of one kind in a form; a WebUI may have thousands, and each field with such names repeats them
OFFERED, OTHER = "from the WebUI", "other"  # titles of the two choices
FIRST_STAGE = "txt2img"  # its fields are shown at once, and its switch takes it away; the others begin without
NULL = {"type": "null"}

logger = logging.getLogger("darkroom.worker")
Schema = dict[str, Any]


def names_of(webui: WebUIClient) -> dict[str, list[str]]:
    """What the WebUI has, by the fields of the forms that take such a name, or a list of them.

    Raises:
        WebUIError: it did not answer.
    """
    checkpoints = [one.file for one in webui.checkpoints()]
    upscalers = [one.name for one in webui.upscalers()]
    return {
        "checkpoint": checkpoints,
        "sampler_name": [one.name for one in webui.samplers()],
        "scheduler": [one.label or one.name for one in webui.schedulers()],
        "upscaler": upscalers,
        "hr_upscaler": [*(one.name for one in webui.latent_upscale_modes()), *upscalers],
        "vae": [one.name for one in webui.vaes()],
        "styles": [one.name for one in webui.styles()],
        "ad_model": webui.adetailer_models(),
    }


def offer(schema: Schema, names: Mapping[str, list[str]]) -> Schema:
    """A deployment's schema with choices of ``names``; the same again where it has them already."""
    offered = deepcopy(schema)
    definitions = offered.get("definitions", {})
    for part in (offered, *definitions.values()):
        if "block_type_slug" not in part:
            _offer(part, names, definitions)
    return offered


def _offer(part: Schema, names: Mapping[str, list[str]], definitions: Mapping[str, Schema]) -> None:
    """Change the fields of an object of the schema, and those of the objects within it."""
    for name, field in part.get("properties", {}).items():
        _show(name, field, definitions)
        _offer(field, names, definitions)
        if name in names:
            lists = [one for one in (field, *field.get("anyOf", [])) if "items" in one]
            for text in [one["items"] for one in lists] or [field]:
                choices = names[name][:MOST]
                if "default" in text or name in part.get("required", []) or lists:
                    text.pop("type", None)
                text["anyOf"] = [{"title": OTHER, "type": "string"}]
                if choices:
                    text["anyOf"].insert(0, {"title": OFFERED, "type": "string", "enum": choices})


def _show(name: str, field: Schema, definitions: Mapping[str, Schema]) -> None:
    """Turn a field that is something or null into that something, but for a stage that the form begins without.

    Without ``default``, and with its type said beside its other rules: then the server adds null to the type alone, in
    place of ``anyOf`` (Prefect's ``preprocess_schema``). So the rules of the first stage are said beside its switch,
    too, and what is wrong is told of its field, not of a stage that is neither right nor null.
    """
    kinds = [kind for kind in field.get("anyOf", []) if kind != NULL]
    if len(kinds) != 1 or NULL not in field["anyOf"]:
        return
    kind = kinds[0]
    if "$ref" in kind:
        if name != FIRST_STAGE:
            return
        kind = definitions[kind["$ref"].rpartition("/")[2]]
    elif kind["type"] == "boolean":  # a form's switch is on or off
        return
    else:
        del field["anyOf"]
    field.pop("default", None)
    field |= deepcopy({rule: value for rule, value in kind.items() if rule not in ("title", "description")})


def refresh(client: SyncPrefectClient, webui: WebUIClient) -> list[str]:
    """Put what the WebUI has into the forms; returns the deployments whose form has changed.

    Raises:
        WebUIError: it did not answer.
        PrefectHTTPStatusError: Prefect refuses the schema, for the deployment's own parameters do not fit it.
    """
    names, changed = names_of(webui), []
    for name in FORMS:
        with suppress(ObjectNotFound):  # not deployed, or removed by the user
            there = client.read_deployment_by_name(name)
            before = there.parameter_openapi_schema or {}
            if not there.schedules and (wanted := offer(before, names)) != before:
                client.update_deployment(there.id, DeploymentUpdate(parameter_openapi_schema=wanted))
                changed.append(name)
    return changed


def look() -> list[str]:
    """Bring the forms up to date, where the WebUI answers; as :func:`refresh`."""
    try:
        with closing(WebUI.chosen(None).get_client()) as webui, get_client(sync_client=True) as client:
            return refresh(client, webui)
    except (WebUIError, ValueError):  # it is away, or none is known: whoever needs it says so
        return []


async def keep_current() -> None:
    """Look again and again, until cancelled."""
    while True:
        for name in await asyncio.to_thread(look):
            logger.info("the form of %s offers what the WebUI has now", name)
        await asyncio.sleep(LOOK_EVERY)
