import logging

import pytest

from apo_core.errors import InputError
from flows.logs import install_log_filter


@pytest.mark.parametrize("name", ["prefect.flow_runs", "prefect.task_runs"])
def test_a_refusal_is_one_line_and_a_bug_keeps_its_traceback(name, monkeypatch):
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger(name)
    monkeypatch.setattr(logger, "handlers", [handler])
    install_log_filter()
    for error in (InputError("train.jsonl", "is empty", row=3), ZeroDivisionError("bug")):
        try:
            raise error
        except (InputError, ZeroDivisionError):
            logger.exception("Encountered an exception during execution:")
    logger.error("Crash detected! Execution was aborted by an interrupt signal.")
    refusal, bug, interrupt = records
    assert (interrupt.getMessage(), interrupt.levelname) == ("interrupted", "WARNING")
    assert (refusal.getMessage(), refusal.exc_info) == ("train.jsonl:3: is empty", None)
    assert bug.exc_info[0] is ZeroDivisionError
