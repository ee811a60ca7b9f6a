"""Scoring many rows at once, with one verifier: the interface, and what scores in this process."""

from __future__ import annotations

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
