"""Numbers: the last one in the text, or the one behind the last answer marker."""

from __future__ import annotations

import re
from decimal import Decimal

from apo_core.verifiers.base import Verdict

# A minus right behind a digit or a bracket subtracts; anywhere else it is the number's sign.
_NUMBER = re.compile(r"(?:(?<![\d)])-)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_MAX_DIGITS = 100


class NumericVerifier:
    """Right where the last number equals the answer's, exactly, as decimals.

    With a marker (GSM8K's `####`) the answer must carry it; a completion may, and is read behind it then.
    """

    version = "2"

    def __init__(self, name: str, *, marker: str | None) -> None:
        self.name = name
        self.marker = marker

    def answer_problem(self, answer: str) -> str | None:
        """See `Verifier`."""
        if self.marker is not None and self.marker not in answer:
            return f"has no {self.marker}"
        if self._read(answer) is None:
            return "has no number to compare with"
        return None

    def score(self, completion: str, answer: str) -> Verdict:
        """See `Verifier`."""
        found = self._read(completion)
        if found is None:
            return Verdict(0.0, None)
        return Verdict(float(found == self._read(answer)), str(found))

    def _read(self, text: str) -> Decimal | None:
        if self.marker is not None and self.marker in text:
            text = text.rsplit(self.marker, 1)[1]
        numbers = _NUMBER.findall(text)
        if not numbers or len(numbers[-1]) > _MAX_DIGITS:
            return None
        return Decimal(numbers[-1].replace(",", ""))
