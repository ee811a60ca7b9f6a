"""Scoring many rows at once: in this process, or in a pool of them where time and memory are not bounded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from apo_core.verifiers.base import Attempt, Verdict, Verifier


class Scorer(Protocol):
    """A verifier at work."""

    def check(self) -> None:
        """See that the verifier can be loaded.

        Raises:
            ApoError: it cannot.
        """
        ...

    def score(self, attempts: list[Attempt]) -> list[Verdict]:
        """A verdict for each, in order; a row's verdict does not depend on the others.

        Raises:
            ApoError: the verifier cannot be loaded.
        """
        ...

    def answer_problems(self, attempts: list[Attempt]) -> list[str | None]:
        """`Verifier.answer_problem` of each, in order; completions are left aside.

        Raises:
            ApoError: the verifier cannot be loaded.
        """
        ...


class InProcess:
    """Scores right here."""

    def __init__(self, verifier: Verifier) -> None:
        """Take a verifier that is bounded, or one that is known to behave."""
        self.verifier = verifier

    def check(self) -> None:
        """See `Scorer`."""

    def score(self, attempts: list[Attempt]) -> list[Verdict]:
        """See `Scorer`."""
        return [self.verifier.score(attempt.completion, attempt.answer, {}) for attempt in attempts]

    def answer_problems(self, attempts: list[Attempt]) -> list[str | None]:
        """See `Scorer`."""
        return [self.verifier.answer_problem(attempt.answer, {}) for attempt in attempts]


@contextmanager
def open_scorer(
    verifier: Verifier,
    *,
    workers: int,
    time_limit_seconds: float,
    memory_limit_mib: int,
    max_errors: int = sys.maxsize,
) -> Iterator[Scorer]:
    """A scorer for the length of a stage.

    Args:
        verifier: not loaded yet.
        workers: processes, where any are needed.
        time_limit_seconds: for one row.
        memory_limit_mib: for one process.
        max_errors: of one call; after more the rows that are left are error rows, too, and cost no time.
    """
    if verifier.bounded:
        yield InProcess(verifier)
        return
    from apo_core.verifiers.pool import PooledScorer

    scorer = PooledScorer(
        verifier,
        workers=workers,
        time_limit_seconds=time_limit_seconds,
        memory_limit_mib=memory_limit_mib,
        max_errors=max_errors,
    )
    try:
        yield scorer
    finally:
        scorer.close()
