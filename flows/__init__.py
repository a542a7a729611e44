"""The flows. Importing any of them keeps Prefect's state in the project's own folder, unless you say otherwise."""

import os

from store.settings import settings

if "PREFECT_API_URL" not in os.environ:
    # Without this, the server that Prefect starts for itself writes into the user's home folder.
    settings().prefect_home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(settings().prefect_home))
