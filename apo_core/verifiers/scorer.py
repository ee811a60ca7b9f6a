"""Scoring many rows with one verifier: the interface, and the scorer in this process."""

from __future__ import annotations

from typing import Protocol

from apo_core.verifiers.base import Attempt, Verdict, Verifier
from apo_core.verifiers.failure import scored_or_error


class Scorer(Protocol):
    """A verifier applied to many rows."""

    def check(self) -> None:
        """Check that the verifier can be loaded.

        Raises:
            ApoError: the verifier cannot be loaded.
        """
        ...

    def score(self, attempts: list[Attempt]) -> list[Verdict]:
        """Score each attempt, in order; a verdict does not depend on the other attempts.

        Raises:
            ApoError: the verifier cannot be loaded.
        """
        ...

    def answer_problems(self, attempts: list[Attempt]) -> list[str | None]:
        """Run `Verifier.answer_problem` on each attempt, in order; completions are not read.

        Raises:
            ApoError: the verifier cannot be loaded.
        """
        ...


class InProcess:
    """Scorer in this process, without limits."""

    def __init__(self, verifier: Verifier) -> None:
        """Take a verifier that is bounded, or trusted not to hang."""
        self.verifier = verifier

    def check(self) -> None:
        """See `Scorer`."""

    def score(self, attempts: list[Attempt]) -> list[Verdict]:
        """See `Scorer`."""
        return [scored_or_error(self.verifier, attempt) for attempt in attempts]

    def answer_problems(self, attempts: list[Attempt]) -> list[str | None]:
        """See `Scorer`."""
        return [self.verifier.answer_problem(attempt.answer, {}) for attempt in attempts]
