"""Numbers: the first number after `####`, else the last number of the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from apo_core.verifiers.base import Verdict, compared
from apo_core.verifiers.extraction import Extract, Rule, extract, nothing, unread

# A minus right behind a digit or a bracket subtracts; anywhere else it is the number's sign.
# Commas that do not group by threes separate numbers. Exponents of five digits are not read.
_NUMBER = re.compile(
    r"(?:(?<![\d)])-)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,4}(?![\d.]))?"
)
_MAX_DIGITS = 100


@dataclass(frozen=True)
class NumericVerifier:
    """Verifier of numbers: right if equal as decimals. `gsm8k` has its gold answers after `####`."""

    name: str
    rules: tuple[Rule, ...]
    bounded: ClassVar[bool] = True
    reads_row: ClassVar[bool] = False

    @property
    def version(self) -> str:
        """See `Verifier`."""
        return f"4:{','.join(self.rules)}"

    def load(self) -> None:
        """See `Verifier`."""

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`."""
        if self.name == "gsm8k" and "####" not in answer:
            return "has no ####"
        return None if self._gold(answer) is not None else "has no number to compare with"

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        extracted = extract(completion, self.rules)
        if extracted is None:
            return nothing(self.rules)
        number, gold = _number(extracted), self._gold(answer)
        if number is None:
            return unread(extracted, "number")
        return compared(number == gold, str(number), str(gold))

    def _gold(self, answer: str) -> Decimal | None:
        extracted = extract(answer, ("hashes",) if self.name == "gsm8k" else ("last",))
        return _number(extracted) if extracted is not None else None


def _number(extracted: Extract) -> Decimal | None:
    numbers = _NUMBER.findall(extracted.text)
    if not numbers:
        return None
    text = numbers[0] if extracted.rule == "hashes" else numbers[-1]
    return Decimal(text.replace(",", "")) if len(text) <= _MAX_DIGITS else None
