"""What a run that stops writes into its log: the reason, and a traceback only where the reason does not say it all."""

from __future__ import annotations

import logging

from flows.handback import HandBack
from tasks.preflight import JobRefused
from tasks.publish import NotPublished
from webui.errors import WebUIError


class BatchIncomplete(RuntimeError):
    """Some items of a batch failed; the others are in the gallery, and a retry repeats only what is missing."""


# Errors whose message says what happened and what to do.
EXPECTED = (WebUIError, JobRefused, NotPublished, BatchIncomplete, HandBack)
FLOWS, TASKS = "prefect.flow_runs", "prefect.task_runs"  # loggers
# Prefect's words where a process is sent SIGTERM, by a cancel or because its worker stops: neither is a crash.
TERMINATED = "Execution was aborted by a termination signal."
STOPPED = "stopped with its worker; it goes on after its finished pictures once a worker is there"


def hide_expected_tracebacks() -> None:
    """Prefect logs every exception of a flow or a task with its traceback: 232 lines for one failed job of a batch.

    A program error keeps its traceback. Of a run that has handed back Prefect says that it finished in the state
    Running, which it has left.
    """
    for name in (FLOWS, TASKS):
        logging.getLogger(name).addFilter(_is_worth_a_line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], EXPECTED):
        record.exc_info = None
    if TERMINATED in record.getMessage():
        record.msg, record.args, record.levelno, record.levelname = STOPPED, (), logging.WARNING, "WARNING"
        return record.name == FLOWS  # said once; of a cancelled flow Prefect says that itself
    return record.getMessage() != "Finished in state Running()"
