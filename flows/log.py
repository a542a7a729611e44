"""What a failed run writes into its log: the reason, and a traceback only where the reason does not say it all."""

from __future__ import annotations

import logging

from tasks.preflight import JobRefused
from tasks.publish import NotPublished
from webui.errors import WebUIError


class BatchIncomplete(RuntimeError):
    """Some items of a batch failed; the others are in the gallery, and a retry repeats only what is missing."""


EXPECTED = (
    WebUIError,
    JobRefused,
    NotPublished,
    BatchIncomplete,
)  # errors whose message says what happened and what to do
LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


def hide_expected_tracebacks() -> None:
    """Prefect logs every exception of a flow or a task with its traceback: 232 lines for one failed job of a batch.

    A program error keeps its traceback.
    """
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], EXPECTED):
        record.exc_info = None
    return True
