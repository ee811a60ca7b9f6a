"""Numbers that are no expressions: times of day, dates, telephone numbers, bases, ranges, ratios.

Every function compares two answers, and returns None if neither is of its kind.
"""

from __future__ import annotations

import re
from math import gcd

from apo_core.verifiers.math_key import key, plain

_TIME = re.compile(r"0?(\d{1,2}):([0-5]\d)(?::([0-5]\d))?\s*([ap])?\.?\s*(?:m\.?)?", re.IGNORECASE)
_DATE = re.compile(
    r"[12]\d{3}([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2[12]\d{3}"
)
_TELEPHONE = re.compile(r"(?:\+?1[- ])?(?P<number>(?:(?:\(\d{3}\)\s?|\d{3}[- .])\d{3}|\d{3})-\d{4})")
_BASE = re.compile(r"(-?[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]+)?)_(?:\{?(\d+|[a-z]{3,})\}?)")
_RANGE = re.compile(r"(\d+(?:\.\d+)?)(?:-|--)(\d+(?:\.\d+)?)")
_RATIO = re.compile(r"\d+(?::\d+){2,9}")
_NAMES = [
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
]


def times(gold: str, answer: str) -> bool | None:
    """Compare times of day."""
    read = [_TIME.fullmatch(plain(text)) for text in (gold, answer)]
    if not any(read):
        return None
    if not all(read):
        return False
    first, other = ([part.casefold() if part else "" for part in match.groups()] for match in read if match)
    same_half = first[3] == other[3] or not first[3] or not other[3]
    if [int(part or 0) for part in first[:3]] == [int(part or 0) for part in other[:3]] and same_half:
        return True
    return bool(first[3] or other[3]) and _seconds(first) == _seconds(other)


def _seconds(time: list[str]) -> int:
    hour, minute, second = (int(part or 0) for part in time[:3])
    if time[3] and hour <= 12:
        hour = hour % 12 + 12 * (time[3] == "p")
    return (hour * 60 + minute) * 60 + second


def dates(gold: str, answer: str) -> bool | None:
    """Compare dates in digits."""
    read = [_DATE.fullmatch(plain(text)) for text in (gold, answer)]
    if not any(read):
        return None
    parts = [[int(part) for part in re.split(r"\D", match[0])] for match in read if match]
    return len(parts) == 2 and parts[0] == parts[1]


def telephones(gold: str, answer: str) -> bool | None:
    """Compare telephone numbers."""
    read = [_TELEPHONE.fullmatch(plain(text)) for text in (gold, answer)]
    if not any(read):
        return None
    numbers = [re.sub(r"\D", "", match["number"]) for match in read if match]
    return len(numbers) == 2 and numbers[0] == numbers[1]


def bases(gold: str, answer: str) -> bool | None:
    """Compare numbers with a base."""
    own, other = _BASE.fullmatch(key(gold)), _BASE.fullmatch(key(answer))
    if own and other:
        return own[1].casefold() == other[1].casefold() and _base(own[2]) == _base(other[2])
    if own:  # the question names the base, and the answer need not
        return own[1].casefold() == key(answer).casefold()
    if other and key(gold).lstrip("-").isdigit():
        return _value(other[1], _base(other[2])) == int(key(gold))
    return False if other and "_" not in gold else None


def _base(name: str) -> int:
    return int(name) if name.isdigit() else _NAMES.index(name) + 2 if name in _NAMES else 0


def _value(digits: str, base: int) -> int | None:
    if not 2 <= base <= 36 or "." in digits or any(int(digit, 36) >= base for digit in digits.lstrip("-")):
        return None
    return int(digits, base)


def ranges(gold: str, answer: str) -> bool | None:
    """Compare ranges of numbers."""
    read = [_RANGE.fullmatch(key(text)) for text in (gold, answer)]
    ends = [
        (float(match[1]), float(match[2])) for match in read if match and float(match[1]) < float(match[2])
    ]
    return None if not ends else len(ends) == 2 and ends[0] == ends[1]


def ratios(gold: str, answer: str) -> bool | None:
    """Compare ratios of three and more."""
    read = [_RATIO.fullmatch(key(text)) for text in (gold, answer)]
    if not any(read):
        return None
    parts = [_lowest([int(part) for part in match[0].split(":")]) for match in read if match]
    return len(parts) == 2 and parts[0] == parts[1]


def _lowest(parts: list[int]) -> list[int]:
    divisor = gcd(*parts) or 1
    return [part // divisor for part in parts]
