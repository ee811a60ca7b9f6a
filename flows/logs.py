"""The lines that a person reads in the log of a run."""

from __future__ import annotations

import logging

from apo_core.errors import ApoError


def install_log_filter() -> None:
    """Let Prefect log an error that a user can mend, and an interrupt, as one line without a traceback."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    if record.getMessage().startswith("Crash detected!") and "interrupt signal" in record.getMessage():
        record.msg, record.args = "interrupted", ()
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    if record.exc_info and isinstance(record.exc_info[1], ApoError):
        record.msg, record.args = str(record.exc_info[1]), ()
        record.exc_info = record.exc_text = None
    return True
