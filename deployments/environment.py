"""The environment that Prefect needs, set before Prefect is imported."""

from __future__ import annotations

import os

from blocks.settings import settings

API = "PREFECT_API_URL"


def own_prefect(api_url: str) -> dict[str, str]:
    """What every process needs that works with the Prefect server that we start ourselves."""
    return {
        API: api_url,
        # The pages ask the API at this address, which is right only for port 4200 by default.
        "PREFECT_SERVER_UI_API_URL": api_url,
        # Database, results and profiles in the project, never in the user's home folder.
        "PREFECT_HOME": str(settings().prefect_home),
        **QUIET,
    }


QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_CLI_PROMPT": "false",
}


def use(variables: dict[str, str]) -> None:
    """Set them for this process and its children; what the user set stays."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)
