"""What the worker needs of Prefect 3.8.8 and Prefect does not document, all of it.

Each with what it is, why nothing documented serves, and what it buys. ``tests/worker/test_prefect_internals.py`` fails
when Prefect changes one of them.
"""

from __future__ import annotations

import warnings
from datetime import timedelta

# The module that runs a flow run, ``python -m`` of it, which takes the run from RUN_ID. The job variable ``command``,
# which replaces it, is documented; what a command has to do is not. Buys the fork server: 2 s less between two runs.
ENGINE = "prefect.engine"

# The environment variable that names the run in its process. Documented is ``prefect.runtime``, which reads it within
# that process; from outside, once the worker that knew the process is dead, there is nothing else. Buys that a dead
# run is seen within seconds on its own host; missing heartbeats tell of it after minutes, and never of a run that died
# before its first.
RUN_ID = "PREFECT__FLOW_RUN_ID"

# The environment variable that names the worker that started a run's process. Nothing documented tells it from outside.
# Buys that a worker which is stopped also ends the runs that the worker before it, killed, has left.
WORKER_NAME = "PREFECT__WORKER_NAME"

# How the names of the variables begin that Prefect's worker sets for one run; all others are settings, read at the
# import. Nothing documented lists them. Buys that a fork, which has imported already, is refused a run with other
# settings.
OF_ONE_RUN = "PREFECT__"

# The label by which Prefect's worker marks each run that it starts. Nothing documented tells which worker started a
# run. Buys that only runs of this host are judged by this host's processes.
WORKER_LABEL = "prefect.worker.name"

# For so long after a run was cancelled, Prefect cancels it again: the process of its next attempt subscribes to events
# and is sent those of the last minute, its own cancel among them. It cannot be switched off by the client. Waiting
# for it buys that a Retry soon after a cancel works at all (8 of 13 were killed).
CANCEL_REPLAY = timedelta(seconds=60)


def allow_own_process_worker() -> None:
    """Spare the user Prefect's warning that our subclass of its process worker takes that type's place.

    A type of our own would go without, but not fit a work pool of type ``process``. Buys a terminal without a warning.
    """
    warnings.filterwarnings("ignore", message="Type 'DarkroomWorker'")
