"""Whether what a program printed or returned is what was expected."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?")
_LONGEST_NUMBER = 400  # characters
_TOLERANCE = 1e-6  # of a number with a fraction, or of 1 if that is more


def same_output(printed: str, expected: str) -> bool:
    """Whether two outputs are the same except for white space at the end of lines and of the text.

    Within a line the words have to agree; numbers agree by value, those with a fraction to a millionth.
    """
    ours, theirs = _lines(printed), _lines(expected)
    if ours == theirs:
        return True
    return len(ours) == len(theirs) and all(map(_same_line, ours, theirs))


def same_value(returned: Any, expected: Any) -> bool:
    """Whether a returned value is what JSON says.

    A tuple is a list, keys are text, floats agree to a millionth.
    """
    if isinstance(returned, list | tuple):
        return (
            isinstance(expected, list)
            and len(returned) == len(expected)
            and all(map(same_value, returned, expected))
        )
    if isinstance(returned, dict):
        ours = {str(key): value for key, value in returned.items()}
        return (
            isinstance(expected, dict)
            and ours.keys() == expected.keys()
            and all(same_value(value, expected[key]) for key, value in ours.items())
        )
    if isinstance(returned, float) or isinstance(expected, float):
        numbers = isinstance(returned, int | float) and isinstance(expected, int | float)
        return numbers and _close(returned, expected)
    return bool(type(returned) in (int, str, bool, type(None)) and returned == expected)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _same_line(ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    first, second = ours.split(), theirs.split()
    return len(first) == len(second) and all(map(_same_word, first, second))


def _same_word(ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    if max(len(ours), len(theirs)) > _LONGEST_NUMBER or not (
        _NUMBER.fullmatch(ours) and _NUMBER.fullmatch(theirs)
    ):
        return False
    if theirs.lstrip("+-").isdecimal():
        return Decimal(ours) == Decimal(theirs)
    return _close(float(ours), float(theirs))


def _close(first: float, second: float) -> bool:
    try:
        return first == second or math.isclose(first, second, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    except OverflowError:  # an int beyond floats
        return False
