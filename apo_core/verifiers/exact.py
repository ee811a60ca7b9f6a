"""Text: equal but for case and surrounding or repeated white space."""

from __future__ import annotations

from apo_core.verifiers.base import Verdict


class ExactVerifier:
    """Right where completion and answer are the same text after folding case and white space."""

    name = "exact"
    version = "1"

    def answer_problem(self, answer: str) -> str | None:
        """See `Verifier`."""
        return None if _fold(answer) else "is empty"

    def score(self, completion: str, answer: str) -> Verdict:
        """See `Verifier`."""
        found = _fold(completion)
        return Verdict(float(found == _fold(answer)), found or None)


def _fold(text: str) -> str:
    return " ".join(text.split()).casefold()
