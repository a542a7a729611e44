"""A switch loads once, waits for an idle WebUI, and is confirmed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from gpu.sender import Sender
from tasks.checkpoint import switch_checkpoint
from tasks.sampling import fixed_fields
from tests.requesting import PATIENCE, Stranger, arm, checkpoint_of
from tests.waiting import until
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI
from webui.errors import CallFailed, WrongCheckpoint

Switch = Callable[..., float]


@pytest.fixture
def switch(prefect_server: None) -> Switch:
    @flow
    def switching(name: str, server: Any) -> float:
        checkpoint = checkpoint_of(server, name)
        fixed = fixed_fields(checkpoint, [], 1, forge=server.engine.settings.forge)
        overrides = {key: fixed[key] for key in ("override_settings", "override_settings_restore_afterwards")}
        with Sender(WebUIClient(server.url), run="r" * 8) as sender:
            return switch_checkpoint(checkpoint, overrides, sender)

    return lambda name, server: switching(name, server)


@pytest.mark.parametrize("forge", [True, False], ids=["forge", "automatic1111"])
def test_a_switch_loads_once_and_is_skipped_when_loaded(
    switch: Switch, tmp_path: Path, home: Path, forge: bool
) -> None:
    with EmbeddedWebUI(folder=tmp_path / "webui", forge=forge) as server:
        loads = server.engine.loader.loads
        assert switch("oil", server) > 0
        assert server.engine.loader.loads == loads + 1
        assert server.options.sd_checkpoint_hash == checkpoint_of(server, "oil").sha256
        asked = len(server.requests.of("POST", "/sdapi/v1/txt2img"))
        assert switch("oil", server) == 0
        assert len(server.requests.of("POST", "/sdapi/v1/txt2img")) == asked
        assert not server.requests.of("POST", "/sdapi/v1/options"), "which would hit a running job"


def test_a_switch_waits_for_a_stranger(switch: Switch, server: EmbeddedWebUI) -> None:
    switch("photo", server)
    server.steps.hold()
    stranger = Stranger(server, override_settings={"sd_model_checkpoint": "photo"})
    assert server.steps.wait_for(0, PATIENCE)
    asked = len(server.requests.of("GET", "/sdapi/v1/progress"))
    with ThreadPoolExecutor(1) as pool:
        switched = pool.submit(switch, "ink", server)
        until("it waits", lambda: len(server.requests.of("GET", "/sdapi/v1/progress")) >= asked + 2)
        assert server.options.sd_checkpoint_hash == checkpoint_of(server, "photo").sha256
        server.steps.release()
        assert switched.result(PATIENCE) > 0
    assert stranger.done()
    assert "Model: photo" in stranger.answer["info"]


def test_another_model_than_asked_is_refused(switch: Switch, server: EmbeddedWebUI) -> None:
    arm(server, kind="wrong model", asked="watercolour*", loads="ink.safetensors")
    switch("oil", server)
    with pytest.raises(WrongCheckpoint, match="watercolour"):
        switch("watercolour", server)


def test_a_failed_load_says_what_to_look_at(switch: Switch, tmp_path: Path, home: Path) -> None:
    with EmbeddedWebUI(folder=tmp_path / "webui", faults=True) as server:
        switch("photo", server)
        arm(server, kind="load failure", asked="oil*")
        with pytest.raises(CallFailed, match=r"oil.safetensors could not be loaded: is the file whole"):
            switch("oil", server)
        assert switch("ink", server) > 0, "another checkpoint repairs it"
