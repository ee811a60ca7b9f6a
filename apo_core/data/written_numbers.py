"""Numbers in digits: `forty-eight` is 48, `two hundred and five` 205, `three quarters` 3/4."""

from __future__ import annotations

import re
from decimal import Decimal

_COUNTED = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_DECADES = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TENS = {word: 10 * tens for tens, word in enumerate(_DECADES, start=2)}
_SMALL = {word: number for number, word in enumerate(_COUNTED)} | _TENS
_FACTORS = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_FACTORS |= {"trillion": 10**12}
_PARTS = {"half": 2, "halves": 2, "thirds": 3, "third": 3, "quarter": 4, "quarters": 4, "fourths": 4}
_PARTS |= {"fifths": 5, "sixths": 6, "sevenths": 7, "eighths": 8, "ninths": 9, "tenths": 10}
_ALONE = {word: str(number) for word, number in (_SMALL | _FACTORS).items()}
_ALONE |= {word: f"1/{part}" for word, part in _PARTS.items() if not word.endswith("s")}
_ALONE |= {"twice": "2x", "double": "2x", "thrice": "3x", "triple": "3x"}
_COMPOUNDS = {*_FACTORS, *(word for word in _PARTS if word.endswith("s"))}  # with the number before them
_JOINED = {str(tens + unit) for tens in _TENS.values() for unit in range(1, 10)}  # by `join_tens`
_UNITS = "|".join(_COUNTED[1:10])
# `twenty one-dollar bills` are twenty; `twenty one bills` are twenty-one.
_TENS_AND_UNIT = re.compile(rf"\b({'|'.join(_TENS)})(?:-({_UNITS})\b|\s+({_UNITS})\b(?!-))")


def join_tens(text: str) -> str:
    """Write tens and units that belong together as one number: `forty-eight` as 48."""
    if "y" not in text:  # as all tens have
        return text
    return _TENS_AND_UNIT.sub(lambda tens: str(_TENS[tens[1]] + _SMALL[tens[2] or tens[3]]), text)


def in_digits(words: list[str]) -> list[str]:
    """Replace numbers that are written in words, and join the three signs of a fraction below one."""
    if _COMPOUNDS.isdisjoint(words):
        written = [_ALONE.get(word, word) for word in words]
    else:
        written = _with_compounds(words)
    return _joined_fractions(written) if "/" in written else written


def _with_compounds(words: list[str]) -> list[str]:
    written: list[str] = []
    at = 0
    while at < len(words):
        at, number = _number(words, at)
        written.append(number)
    return written


def _number(words: list[str], at: int) -> tuple[int, str]:
    """The number that begins at a word, and the position behind it; any other word is itself."""
    next_word = words[at + 1] if at + 1 < len(words) else ""
    if next_word in _COMPOUNDS and (value := _value(words[at])) is not None:
        if next_word in _FACTORS:
            return _product(words, at)
        return at + 2, f"{_plain(value)}/{_PARTS[next_word]}"
    return at + 1, _ALONE.get(words[at], words[at])


def _product(words: list[str], at: int) -> tuple[int, str]:
    """A number with factors: `two hundred and five`, `5 million`."""
    total, current = Decimal(0), _value(words[at]) or Decimal(0)
    at += 1
    while at < len(words) and words[at] in _FACTORS:
        factor = _FACTORS[words[at]]
        current *= factor
        if factor != 100:  # `two hundred thousand` goes on to multiply
            total, current = total + current, Decimal(0)
        at += 1
        start = at + 1 if words[at : at + 1] == ["and"] else at
        rest = _remainder(words, start, factor)
        if rest is not None:
            current += rest
            at = start + 1
    return at, _plain(total + current)


def _remainder(words: list[str], at: int, factor: int) -> Decimal | None:
    """What is added behind a factor: less than it, and not multiplied by as much."""
    if at >= len(words) or factor < 100 or not (words[at] in _SMALL or words[at] in _JOINED):
        return None
    value, next_word = _value(words[at]), words[at + 1] if at + 1 < len(words) else ""
    if value is None or value >= factor or _FACTORS.get(next_word, 0) >= factor:
        return None
    return value


def _value(word: str) -> Decimal | None:
    if word in _SMALL:
        return Decimal(_SMALL[word])
    return Decimal(word) if word[0] in "0123456789." else None


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _joined_fractions(words: list[str]) -> list[str]:
    joined: list[str] = []
    for word in words:
        if _is_fraction(joined[-2:], word):
            joined[-2:] = [f"{joined[-2]}/{word}"]
        else:
            joined.append(word)
    return joined


def _is_fraction(before: list[str], word: str) -> bool:
    """Whether a whole number, a stroke and this word are a fraction below one."""
    above, *stroke = before or [""]
    return stroke == ["/"] and above.isdecimal() and word.isdecimal() and int(above) < int(word)
