"""A verifier that says how long each score took."""

from __future__ import annotations

import time
from typing import Any

from apo_core.verifiers.base import Verdict, Verifier

SECONDS = "seconds"  # the part of a verdict that holds the time


class Timed:
    """A verifier whose verdicts carry the seconds that each took, as the part `seconds`.

    For looking at a verifier only: verdicts of stages do not depend on the time.
    """

    def __init__(self, verifier: Verifier) -> None:
        """Take a verifier, loaded or not."""
        self.verifier = verifier
        self.name, self.version = verifier.name, verifier.version
        self.bounded, self.reads_row = verifier.bounded, verifier.reads_row
        self.directory = getattr(verifier, "directory", None)  # of a user's own

    def load(self) -> None:
        """See `Verifier`."""
        self.verifier.load()

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`."""
        return self.verifier.answer_problem(answer, row)

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        started = time.perf_counter()
        verdict = self.verifier.score(completion, answer, row)
        return verdict._replace(parts={SECONDS: time.perf_counter() - started})
