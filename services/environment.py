"""The environment that Prefect needs, set before Prefect is imported."""

from __future__ import annotations

import os
import re
import zoneinfo
from pathlib import Path

import certifi

from store.files import write_whole
from store.settings import settings

API = "PREFECT_API_URL"

# Prefect checks each timetable of each deployment that it reads or answers against the names of all time zones, for
# which Python opens 600 files (5 ms); from the package tzdata alone it reads one.
QUICK_ZONES = {"PYTHONTZPATH": ""}
# The server writes down what tasks do, each event by itself: 20 ms for three of them a task, on the one core that also
# hands out the next run. Within a second they come in groups, and a group costs as much as one.
SERVER = {
    **QUICK_ZONES,
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_CLI_PROMPT": "false",
    # Each run would ask three times whether the server has the version that its worker works with.
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    **QUICK_ZONES,
}


def own_prefect(api_url: str) -> dict[str, str]:
    """What every process needs that works with the Prefect server that we start ourselves."""
    return {
        API: api_url,
        # The pages ask the API at this address, which is right only for port 4200 by default.
        "PREFECT_SERVER_UI_API_URL": api_url,
        # Database, results and profiles in the project, never in the user's home folder.
        "PREFECT_HOME": str(settings().prefect_home),
        **SERVER,
        **QUIET,
        **quick_clients(api_url),
    }


def quick_clients(api_url: str) -> dict[str, str]:
    """Spares Prefect's clients the world's certificates where the API is asked in plain HTTP, which needs none.

    Each client reads the whole bundle when it is made, 20 ms on one core (``ssl.create_default_context``), and a run
    makes seven, most of them on its way to the GPU. One certificate is the least that the file may hold.
    """
    if not api_url.startswith("http://"):
        return {}
    path = settings().home / "one-certificate.pem"
    if not path.exists():
        bundle = Path(certifi.where()).read_text()
        one = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", bundle, re.DOTALL)
        assert one is not None
        write_whole(path, one.group().encode())
    return {"PREFECT_API_SSL_CERT_FILE": str(path)}


def use(variables: dict[str, str]) -> None:
    """Set them for this process and its children; what the user set stays."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    zoneinfo.reset_tzpath()  # pydantic has imported it, and it reads its variable at the import
