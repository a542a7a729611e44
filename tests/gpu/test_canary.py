"""After out of memory: the mark that a run leaves, and the small picture that removes it."""

from __future__ import annotations

import pytest

from gpu import canary
from gpu.sender import Sender
from tests.requesting import arm, request_for
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI
from webui.errors import CallFailed, OutOfMemory


def send(client: WebUIClient, server: EmbeddedWebUI) -> None:
    with Sender(client, run="run") as sender:
        sender.answer(request_for(server))


def test_a_run_that_is_out_of_memory_leaves_a_mark_until_a_small_picture_is_painted(
    server: EmbeddedWebUI, client: WebUIClient
) -> None:
    arm(server, kind="error", like="out of memory", times=2)
    with pytest.raises(OutOfMemory):
        send(client, server)
    assert canary.is_marked(server.url)
    assert "64×64 fails there too" in canary.try_out(client)
    assert canary.is_marked(server.url)
    assert canary.try_out(client) == ""
    assert not canary.is_marked(server.url)


def test_another_failure_leaves_none(server: EmbeddedWebUI, client: WebUIClient) -> None:
    arm(server, kind="error", body={"error": "RuntimeError", "detail": "", "body": "", "message": "x"})
    with pytest.raises(CallFailed):
        send(client, server)
    assert not canary.is_marked(server.url)
