"""Which Prefect API this process works with, and the environment variables that follow from it.

They are read by Prefect when it is imported, so they are set before that where possible.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

import flows  # noqa: F401  (imported before Prefect: it points PREFECT_HOME into the project)
from store.settings import settings

API = "PREFECT_API_URL"

SERVER = {
    # By default each task's events are a transaction of their own, 20 ms per task on the core that also hands out the
    # next run. Collected for up to a second, a group costs as much as one event.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # Clients ask for the last minute's events when they subscribe: the watcher of a retried run would get the
    # cancellation before, and end it. What it misses meanwhile, the worker finds in the runs (worker/recovery.py).
    "PREFECT_SERVER_EVENTS_MAXIMUM_WEBSOCKET_BACKFILL": "PT0S",
    # Deleting a run leaves its logs and artifacts; "orphans" removes them once a day. "events" is Prefect's default.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",
}
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_CLI_PROMPT": "false",
    # Each run would ask three times whether the server has the version that its worker works with.
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
}


def public_address() -> str:
    """``DARKROOM_PUBLIC_ADDRESS`` as a browser writes an origin, such as ``http://host:4200``; empty: none is set.

    Raises:
        ValueError: it is none.
    """
    given = settings().public_address.strip().lower().removesuffix("/")
    if given and not re.fullmatch(r"https?://[a-z0-9.-]+(:[1-9]\d{0,4})?", given):
        raise ValueError("DARKROOM_PUBLIC_ADDRESS must be http(s):// and a name or IPv4 address, with :port if need be")
    return given.removesuffix(":80" if given.startswith("http:") else ":443")


def password() -> str:
    """User and password of Prefect's own basic auth, from wherever Prefect reads its settings; empty: none is set."""
    from prefect.settings import get_current_settings

    found = get_current_settings()
    secret = found.server.api.auth_string or found.api.auth_string
    return secret.get_secret_value() if secret else ""


def own_prefect(api_url: str) -> dict[str, str]:
    """What every process needs that works with the Prefect server that we start ourselves."""
    variables = {
        API: api_url,
        # Database and results in the project, not in the user's home folder.
        "PREFECT_HOME": str(settings().prefect_home),
        **SERVER,
        **QUIET,
    }
    if public := public_address():
        variables |= {"PREFECT_UI_URL": public, "PREFECT_SERVER_UI_API_URL": f"{public}/api"}
    if secret := password():  # the server demands it, and everything of ours sends it
        variables |= {"PREFECT_SERVER_API_AUTH_STRING": secret, "PREFECT_API_AUTH_STRING": secret}
    return variables


def ui_url() -> str:
    """Where a person opens Prefect's pages."""
    return os.environ.get("PREFECT_UI_URL") or os.environ[API].removesuffix("/api")


def use(variables: dict[str, str]) -> None:
    """Set them for this process and its children; what the user set stays."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    if "prefect.context" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def configured_api(say: Callable[[str], None]) -> str | None:
    """The address of the API that the user chose; None: there is none.

    The environment variable comes first, then whatever else Prefect reads (profile, ``.env``, ``prefect.toml``), which
    ``say`` is told. It is put into the environment for our children; a key or a password stays where Prefect reads it.
    """
    if os.environ.get(API):
        return os.environ[API]
    from prefect.context import get_settings_context

    context = get_settings_context()
    if url := context.settings.api.url:
        say(f"Prefect: {url}, from Prefect's own settings (profile {context.profile.name!r}, .env or prefect.toml)")
        use({API: url})
    return url
