"""Whether a task of a run is at work in this process: what it does is worth waiting for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_AT_WORK = threading.Event()


@contextmanager
def at_work() -> Iterator[None]:
    """Count as being at work for the length of the block."""
    _AT_WORK.set()
    try:
        yield
    finally:
        _AT_WORK.clear()


@contextmanager
def at_rest() -> Iterator[None]:
    """Count as not being at work for the length of the block: what is for Prefect alone can be lost."""
    was_at_work = _AT_WORK.is_set()
    _AT_WORK.clear()
    try:
        yield
    finally:
        if was_at_work:
            _AT_WORK.set()


def is_at_work() -> bool:
    """Whether a block of `at_work` is being run."""
    return _AT_WORK.is_set()
