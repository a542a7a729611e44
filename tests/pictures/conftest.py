"""A WebUI that can be made to lie, with the stages that paint at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pictures.lies import Rig
from webui.client import WebUIClient
from webui.embedded.server import EmbeddedWebUI


@pytest.fixture
def rig(server: EmbeddedWebUI, client: WebUIClient, prefect_server: None, tmp_path: Path) -> Rig:
    return Rig(server, client, tmp_path)
