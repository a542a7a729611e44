"""A flow run by hand works with the server of the user's Prefect profile, and keeps its state in the project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.rest import PROJECT

PRINT = "import flows; from prefect.settings import get_current_settings as g; print(g().api.url, g().home)"


def test_the_profile_of_the_users_home_is_read_and_nothing_is_written_there(tmp_path: Path) -> None:
    (tmp_path / ".prefect").mkdir()
    profile = 'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "http://prefect.example/api"\n'
    (tmp_path / ".prefect" / "profiles.toml").write_text(profile)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "DARKROOM_"))}
    environment = clean | {"HOME": str(tmp_path), "DARKROOM_HOME": str(tmp_path / "darkroom")}
    done = subprocess.run(
        [sys.executable, "-c", PRINT], env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["http://prefect.example/api", str(tmp_path / "darkroom" / "prefect")], done.stderr
    assert [path.name for path in (tmp_path / ".prefect").iterdir()] == ["profiles.toml"]
