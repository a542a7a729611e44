"""The flows. Importing any of them keeps Prefect's state in the project's folder, unless a Prefect server is set."""

import os
from pathlib import Path

from store.settings import settings


def keep_prefect_state_in_project() -> None:
    """Point ``PREFECT_HOME`` into the project where the user set neither it nor ``PREFECT_API_URL``.

    Otherwise the server that Prefect starts for itself would write into the user's home folder. The user's profiles
    are still read from there: they may name a server. To be called before Prefect is imported.
    """
    if os.environ.get("PREFECT_API_URL") or os.environ.get("PREFECT_HOME"):
        return
    settings().private_home()
    settings().prefect_home.mkdir(exist_ok=True)
    os.environ.setdefault("PREFECT_PROFILES_PATH", str(Path.home() / ".prefect" / "profiles.toml"))
    os.environ["PREFECT_HOME"] = str(settings().prefect_home)


keep_prefect_state_in_project()
