"""Numbers: the last one in the text, or the first one behind the last answer marker."""

from __future__ import annotations

import re
from decimal import Decimal

from apo_core.verifiers.base import Verdict

# A minus right behind a digit or a bracket subtracts; anywhere else it is the number's sign.
# Commas group by threes, or they separate numbers. An exponent of five digits is no answer to anything.
_NUMBER = re.compile(
    r"(?:(?<![\d)])-)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,4}(?![\d.]))?"
)
_MAX_DIGITS = 100


class NumericVerifier:
    """Right where the last number equals the answer's, exactly, as decimals.

    With a marker (GSM8K's `####`) the answer must carry it; a completion may, and is read behind it then.
    """

    version = "3"

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
        marked = self.marker is not None and self.marker in text
        numbers = _NUMBER.findall(text.rsplit(self.marker or "", 1)[1] if marked else text)
        if not numbers:
            return None
        found = numbers[0] if marked else numbers[-1]
        return Decimal(found.replace(",", "")) if len(found) <= _MAX_DIGITS else None
