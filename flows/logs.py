"""What a person reads in the log of a run."""

from __future__ import annotations

import logging

from apo_core.errors import ApoError


def quiet_refusals() -> None:
    """Let Prefect log what a user can mend as its one line, without a traceback through our code."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], ApoError):
        record.msg, record.args = str(record.exc_info[1]), ()
        record.exc_info = record.exc_text = None
    return True
