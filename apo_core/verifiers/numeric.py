"""Numbers: the first number after `####`, else the last number of the text."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar

from apo_core.verifiers.base import Verdict, advised, compared, quoted
from apo_core.verifiers.extraction import Extract, Rule, extract, nothing, unread
from apo_core.verifiers.missing import missing_problem
from apo_core.verifiers.notation import to_ascii
from apo_core.verifiers.number_alone import cleaned, is_alone, is_vague
from apo_core.verifiers.number_lines import JOINED, has_number, number_behind_hashes, value_of
from apo_core.verifiers.number_text import Number, last_number, numbers_in

_LAST_EQUALS = re.compile(r"(?<![<>!\\])=|\\approx(?![A-Za-z])|\u2248")
_EQUATIONS = re.compile(r"=[^=]*(?:[,;]|\band\b|\bor\b)[}\s$\\]*[A-Za-z]\w*\s*=")  # "x = 1, y = 2"


@dataclass(frozen=True)
class NumericVerifier:
    """Verifier of numbers: right if equal as decimals or fractions. `gsm8k` has its gold after `####`."""

    name: str
    rules: tuple[Rule, ...]
    bounded: ClassVar[bool] = True
    reads_row: ClassVar[bool] = False

    @property
    def version(self) -> str:
        """See `Verifier`."""
        return f"6:{','.join(self.rules)}"

    def load(self) -> None:
        """See `Verifier`."""

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`; the answer must be one number, with its unit perhaps."""
        if problem := missing_problem(answer):
            return problem
        text = self._gold_text(answer)
        return advised("has no ####", "numeric", "plain numbers") if text is None else _gold_problem(text)

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        extracted = extract(to_ascii(completion), self.rules, holds=has_number)
        if extracted is None:
            return nothing(self.rules)
        number, gold = _number(extracted), _gold(self._gold_text(answer) or "")
        if number is None:
            return unread(extracted, "number")
        if isinstance(number, str):
            return Verdict(0.0, None, number)
        return compared(number == gold, str(number), str(gold))

    def _gold_text(self, answer: str) -> str | None:
        text = to_ascii(answer)
        extracted = extract(text, ("hashes",))  # GSM8K's whole solutions are golds of `numeric` too
        if extracted is None:
            return None if self.name == "gsm8k" else text.strip()
        return extracted.text


def _gold(text: str) -> Decimal | Fraction | None:
    numbers = list(numbers_in(cleaned(text)))
    return numbers[0].value if len(numbers) == 1 else None


def _gold_problem(text: str) -> str | None:
    """Say why a text is not one number; None if it is."""
    text = cleaned(text)
    numbers = list(numbers_in(text))
    if not numbers:
        return "has no number to compare with"
    if len(numbers) > 1:
        shown = ", ".join(number.text.strip() for number in numbers[:4])
        return advised(f"{quoted(text)} holds {len(numbers)} numbers ({shown})", "math", "expressions")
    if numbers[0].value is None and re.fullmatch(r"[\d,.]{100,}", numbers[0].text):
        return "has no number of at most 100 digits"
    if numbers[0].value is None or not is_alone(text, numbers[0]) or is_vague(text, numbers[0]):
        problem = f"{quoted(text)} is not one plain number"
        return advised(problem, "math", "expressions, or exact, which compares text")
    return None


def _number(extracted: Extract) -> Decimal | Fraction | str | None:
    """Read the answer; None if there is no number, text that says why if it is not one."""
    if extracted.rule == "hashes":
        return number_behind_hashes(extracted.text)
    if extracted.rule == "last":
        number = last_number(extracted.text)
        return None if number is None else value_of(number)
    return _in_mark(extracted.text)


def _in_mark(text: str) -> Decimal | Fraction | str | None:
    """Read a box or a tag, as strictly as a gold answer: one number, or one behind its last equals sign."""
    if _EQUATIONS.search(text):
        return f"{quoted(text)} holds several equations, not one"
    result = cleaned(_LAST_EQUALS.split(text)[-1])
    numbers = list(numbers_in(result))
    if not numbers:
        return None
    values = {number.value for number in numbers}
    if len(values) > 1:
        return f"{quoted(text)} holds {len(numbers)} numbers, not one"
    number = numbers[-1]
    if number.value is None:
        return f"{quoted(number.text)} is no plain number"
    is_number = is_alone(result, number) if len(numbers) == 1 else _is_list(result, numbers)
    return number.value if is_number else f"{quoted(text)} is not one plain number"


def _is_list(text: str, numbers: list[Number]) -> bool:
    """Whether commas, "and" or "or" join numbers, and nothing else is there."""
    pairs = itertools.pairwise(numbers)
    return not text[: numbers[0].start].strip("$ ") and all(
        JOINED.fullmatch(text, first.end, other.start) for first, other in pairs
    )
