"""``darkroom notify``: Prefect automations that send what happens at night to where a person reads it.

Each is an ordinary automation: in the Prefect UI it can be switched off or changed. Setting them up again takes the
texts and the receiver anew and leaves each switch as it is.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
from prefect.blocks.abstract import NotificationBlock, NotificationError
from prefect.blocks.core import Block
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.events.actions import SendNotification
from prefect.types import SecretDict

from deployments.saved import Say
from worker.notice import OF_POOL, QUEUE_EMPTIED, WEBUI_AWAY, WEBUI_BACK

FIRST_SUBJECT = "Darkroom: notices are set up"
WEBHOOK = "darkroom"  # name of the block that holds the address of --to


# By the automation's name: the events that it waits for, and the subject and text that it sends (Prefect's templates).
NOTICES = {
    "darkroom: a run failed": (
        # Prefect names the event after the state. Crashed is none of them: such a run goes on by itself, and one that
        # crashes again and again ends as Quarantined.
        {f"prefect.flow-run.{state}" for state in ("Failed", "TimedOut", "Quarantined")},
        "Darkroom: {{ flow_run.name }} {{ flow_run.state.name }}",
        "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
    ),
    "darkroom: the queue is empty": ({QUEUE_EMPTIED}, "Darkroom: the queue is empty", "{{ event.payload.text }}"),
    "darkroom: the WebUI is away, or back": (
        {WEBUI_AWAY, WEBUI_BACK},
        "Darkroom: the WebUI is {{ event.event.split('.')[-1] }}",
        "{{ event.payload.text }}",
    ),
}


class NotSent(RuntimeError):
    """The receiver did not take a notice; nothing was set up."""


def send_notices(to: str, say: Say) -> None:
    """Send a first notice, then create or update the automations that send the others.

    Args:
        to: the slug of a notification block of Prefect's (``slack-webhook/mine``), or a webhook's address (http or
            https), which gets ``{"text": …}`` by POST, as Slack, Mattermost and Google Chat take it. The address is
            kept as a secret of the block ``custom-webhook/darkroom``, for whoever knows it can post there.
        say: called with a line for each automation.

    Raises:
        ValueError: ``to`` is neither, or there is no such block.
        NotSent: the receiver refused the first notice, or is not there.
    """
    slug = to
    if to.startswith(("http://", "https://")):
        slug, webhook = f"custom-webhook/{WEBHOOK}", _webhook(to)
        _send_first(webhook)
        webhook.save(WEBHOOK, overwrite=True)
    else:
        _send_first(_notification_block(to))
    kind, _, of_block = slug.partition("/")
    with get_client(sync_client=True) as client:
        block = client.read_block_document_by_name(of_block, kind)
        assert block.id is not None, "it is saved"
        for name in NOTICES:
            _save(client, name, block.id)
            say(f"automation {name!r}: set up")


def send_none(say: Say) -> None:
    """Remove the automations, and the block with the webhook's address."""
    with get_client(sync_client=True) as client:
        for name in NOTICES:
            for there in client.read_automations_by_name(name):
                client.delete_automation(there.id)
                say(f"automation {name!r}: removed")
    with suppress(ValueError):  # there is none
        CustomWebhookNotificationBlock.delete(WEBHOOK)


def _webhook(address: str) -> CustomWebhookNotificationBlock:
    return CustomWebhookNotificationBlock(
        name=WEBHOOK,
        url="{{address}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        secrets=SecretDict({"address": address}),
    )


def _notification_block(slug: str) -> NotificationBlock:
    kind, _, name = slug.partition("/")
    if not name:
        raise ValueError(f"{slug}: neither a webhook's address (https://…) nor a block (slack-webhook/mine)")
    block = Block.load(slug)
    if not isinstance(block, NotificationBlock):
        raise ValueError(f"{slug}: a block of type {kind} sends no notifications")
    return block


def _send_first(block: NotificationBlock) -> None:
    """So that a wrong address is seen now and not by silence at night. What goes wrong is said without the address."""
    try:
        with block.raise_on_failure():
            # By Prefect's interface a coroutine; its own blocks are done by then where no event loop runs.
            sent: Any = block.notify("Failures, an emptied queue and an absent WebUI are sent here.", FIRST_SUBJECT)
            if inspect.iscoroutine(sent):
                asyncio.run(sent)
    except httpx.HTTPStatusError as error:
        raise NotSent(f"the webhook answered {error.response.status_code}: is its address right?") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotSent(f"the webhook can't be reached ({type(error).__name__}): is its address right?") from None
    except NotificationError as error:
        raise NotSent("the block could not send a notice: is it filled in rightly? Try it in the Prefect UI") from error


def _save(client: SyncPrefectClient, name: str, block: UUID) -> None:
    events, subject, body = NOTICES[name]
    there = client.read_automations_by_name(name)
    wanted = AutomationCore(
        name=name,
        description="Made by `darkroom notify`.",
        enabled=there[0].enabled if there else True,
        trigger=EventTrigger(
            expect=events,
            match_related=ResourceSpecification.model_validate(OF_POOL),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[SendNotification(block_document_id=block, subject=subject, body=body)],
    )
    if there:
        client.update_automation(there[0].id, wanted)
    else:
        client.create_automation(wanted)
