"""What runs in the processes that score: nothing here imports torch."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apo_core.errors import ApoError
from apo_core.system.processes import set_parent_death_signal
from apo_core.verifiers.base import Attempt, Verdict, Verifier, shortened

LOAD_SECONDS = 120
_REASON = 200  # characters

_LOADED: list[Verifier] = []  # of this process, when it has one
_PROBLEM: list[str] = []
_LIMIT: list[float] = []


def begin(verifier: Verifier, time_limit_seconds: float, memory_limit_mib: int) -> None:
    """Settle in a new process and load the verifier; a failure is kept for `load_problem`."""
    set_parent_death_signal()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ends it at once, whatever it is at
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
        _PROBLEM.append(f"verifier.name: {verifier.name}: cannot be loaded: {_described(error)}")


def load_problem() -> str | None:
    """Why the verifier could not be loaded."""
    return _PROBLEM[0] if _PROBLEM else None


def score(attempt: Attempt) -> Verdict:
    """Score one completion; whatever is raised becomes an error row."""
    try:
        verifier = _LOADED[0]
        with _killed_after(_LIMIT[0]):
            verdict = verifier.score(attempt.completion, attempt.answer, _row(verifier, attempt))
        return verdict._replace(reason=shortened(verdict.reason, _REASON))
    except BaseException as error:  # noqa: BLE001 - a user's function may raise anything, SystemExit too
        return Verdict(None, None, f"error: {_described(error)}")


def answer_problem(attempt: Attempt) -> str | None:
    """What is wrong with a gold answer; whatever is raised is wrong with it."""
    try:
        verifier = _LOADED[0]
        with _killed_after(_LIMIT[0]):
            return verifier.answer_problem(attempt.answer, _row(verifier, attempt))
    except BaseException as error:  # noqa: BLE001 - as above
        return f"error: {_described(error)}"


@contextmanager
def _killed_after(seconds: float) -> Iterator[None]:
    """Have the kernel end this process if the block takes longer, whatever it is at.

    Whoever watches from outside cannot tell a row that has just ended from the next, and would kill that one.
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


def _described(error: BaseException) -> str:
    # Not str(error), which a user's exception may have made fail.
    return shortened(traceback.format_exception_only(error)[-1], _REASON)


def _be_silent() -> None:
    """Whoever reads the stage's output is not to read what a verifier prints."""
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
