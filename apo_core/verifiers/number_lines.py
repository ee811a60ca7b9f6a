"""The number of a line behind `####`."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from apo_core.verifiers.base import quoted
from apo_core.verifiers.number_text import Number, numbers_in

# Behind `####`: a number in an adverbial ("After 3 hours: 18 miles"), and where a later one is stated
_ADVERBIAL = re.compile(
    r"(?:\b(?:in|after|for|within|at|over|during|by|from|of|with|every|on|per|first|last|next|all"
    r"|week|day|month|year|hour|round|trip|part|step|case|stage|question|problem))[\s$]*$",
    re.IGNORECASE,
)
_STATED = re.compile(
    r"(?:[:=]|\b(?:is|are|was|were|be|equals|has|have|had|makes?|made|gets?|earns?|costs?|needs?|pays?|saves?|spends?))"
    r"(?:\s+(?:about|only|exactly|just|a total of|now))?[\s*$\\]*$",
    re.IGNORECASE,
)
_OPERATOR = re.compile(
    r"[\s$]*(?:\bor\b|\bto\b|[-+/x\u00d7\u00f7]|\*(?!\*)|\\times|\\cdot)[\s$]*", re.IGNORECASE
)
JOINED = re.compile(r"[\s$]*(?:(?:,|;|\band\b|\bor\b|&)[\s$]*)+", re.IGNORECASE)


def has_number(line: str) -> bool:
    """Whether a line behind `####` gives a number."""
    return _behind_mark(line) is not None


def _behind_mark(line: str) -> Number | None:
    """Read the number behind the last equals sign of a line, else its first.

    Where the first belongs to an adverbial, it is the next that stands behind a colon or a verb: "After 3
    hours: 18 miles".
    """
    _, _, result = line.rpartition("=")
    numbers = numbers_in(line)
    if number := next(numbers_in(result), None) or next(numbers, None):
        return _stated(line, number) if "=" not in line else number
    return None


def _stated(line: str, first: Number) -> Number:
    if not _ADVERBIAL.search(line[max(0, first.start - 20) : first.start]):
        return first
    later = numbers_in(line, first.end)
    return next(
        (other for other in later if _STATED.search(line[max(0, other.start - 40) : other.start])), first
    )


def number_behind_hashes(line: str) -> Decimal | Fraction | str | None:
    """Read the number of a line, as `_number` does; text if another is joined to it: "18 or 19", "9*2"."""
    result = line.rpartition("=")[2]
    line = result if next(numbers_in(result), None) else line
    number = _behind_mark(line)
    if number is None:
        return None
    other = next(numbers_in(line, number.end), None)
    if other is None or other.value == number.value:
        return value_of(number)
    between, rest = line[number.end : other.start], line[other.end :]
    ends = len(rest) < 20 and not re.search(r"\w", rest)
    if _OPERATOR.fullmatch(between) or (ends and JOINED.fullmatch(between)):
        return f"{quoted(line)} holds several numbers, not one"
    return value_of(number)


def value_of(number: Number) -> Decimal | Fraction | str:
    """Return the value of a number; text that says that it is no plain number."""
    return number.value if number.value is not None else f"{quoted(number.text)} is no plain number"
