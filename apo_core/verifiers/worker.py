"""Code of the processes that score; nothing here imports torch."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apo_core.errors import ApoError
from apo_core.system.processes import set_parent_death_signal
from apo_core.verifiers.base import Attempt, Verdict, Verifier, shortened
from apo_core.verifiers.failure import REASON, described, error_row

LOAD_SECONDS = 120

_LOADED: list[Verifier] = []  # the verifier of this process, once loaded
_PROBLEM: list[str] = []
_LIMIT: list[float] = []


def begin(verifier: Verifier, time_limit_seconds: float, memory_limit_mib: int) -> None:
    """Set up a new process and load the verifier; a failure is kept for `load_problem`."""
    set_parent_death_signal()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ends the process at once
    _be_silent()
    if sys.platform == "linux":  # elsewhere the kernel does not count what is mapped
        resource.setrlimit(resource.RLIMIT_DATA, (memory_limit_mib * 2**20,) * 2)
    _LIMIT.append(time_limit_seconds)
    try:
        with _killed_after(LOAD_SECONDS):
            verifier.load()
        _LOADED.append(verifier)
    except ApoError as error:
        _PROBLEM.append(str(error))
    except BaseException as error:  # noqa: BLE001 - a user's module may raise anything, SystemExit too
        _PROBLEM.append(f"verifier.name: {verifier.name}: cannot be loaded: {described(error, verifier)}")


def load_problem() -> str | None:
    """Say why the verifier could not be loaded; None if it was."""
    return _PROBLEM[0] if _PROBLEM else None


def score(attempt: Attempt) -> Verdict:
    """Score one completion; any exception becomes an error row."""
    try:
        verifier = _LOADED[0]
        with _killed_after(_LIMIT[0]):
            verdict = verifier.score(attempt.completion, attempt.answer, _row(verifier, attempt))
        return verdict._replace(reason=shortened(verdict.reason, REASON))
    except BaseException as error:  # noqa: BLE001 - a user's function may raise anything, SystemExit too
        return error_row(error, _LOADED[0])


def answer_problem(attempt: Attempt) -> str | None:
    """Say what is wrong with a gold answer, an exception included; None if nothing is."""
    try:
        verifier = _LOADED[0]
        with _killed_after(_LIMIT[0]):
            return verifier.answer_problem(attempt.answer, _row(verifier, attempt))
    except BaseException as error:  # noqa: BLE001 - as above
        return f"error: {described(error, _LOADED[0])}"


@contextmanager
def _killed_after(seconds: float) -> Iterator[None]:
    """Have the kernel end this process if the block takes longer, even inside C code.

    A watcher in another process cannot know whether the row has just ended, and might kill the next one.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _row(verifier: Verifier, attempt: Attempt) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(attempt.row) if verifier.reads_row else {}
    return row


def _be_silent() -> None:
    """Discard what a verifier prints, so that it does not mix with the stage's output."""
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
