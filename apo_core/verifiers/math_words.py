r"""Words behind a number that are no unit: what they say about it is part of the answer.

"5 million" and "5 dozen" are other numbers than 5; "5 PM", "1200 BC", "5 June", "5 or more", "5 squared" and
"5 ft 6 in" are compared as they are written.
"""

from __future__ import annotations

import re
from decimal import Decimal

from apo_core.verifiers.latex import UPRIGHT

_BLANK = re.compile(r"\\[ ,;:!]|\\quad(?![A-Za-z])|[~$\s]+")
_HALF_OF_DAY = re.compile(r"\b([ap])\.\s?m\b\.?|\b([ap])m\b\.?")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LETTER = re.compile(r"[A-Za-z]")

_SCALES = {
    "dozen": 12,
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_SCALE = rf"({'|'.join(_SCALES)})s?"
_FIRST_SCALE = re.compile(rf"{_SCALE}\b(?:\s*of\b)?\s*", re.IGNORECASE)
_DECIMAL = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
_IN_PROSE = re.compile(rf"(?<![\w.,])({_DECIMAL.pattern})[\s~]?\s?{_SCALE}\b", re.IGNORECASE)

_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october"),
    *(
        "november",
        "december",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
    ),
)
_DAYS = (
    *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    *("mon", "tue", "tues", "wed", "thu", "thur", "thurs", "fri", "sat", "sun"),
)
_DATES = {*_MONTHS, *_DAYS, "am", "pm", "bc", "ad", "bce", "ce"}
_NO_UNITS = {
    *_DATES,
    *("north", "south", "east", "west", "northeast", "northwest", "southeast", "southwest"),
    *(
        "clockwise",
        "counterclockwise",
        "anticlockwise",
        "upward",
        "upwards",
        "downward",
        "downwards",
        "below",
    ),
    *("factorial", "modulo", "mod", "plus", "minus", "divided", "multiplied", "point", "noon", "midnight"),
    *("halves", "thirds", "fourths", "fifths", "sixths", "sevenths", "eighths", "ninths", "tenths"),
    *("hundredths", "thousandths"),
}
_FIRST_ONLY = {"squared", "cubed", "half", "third"}  # "5 feet squared" is an area
_PHRASE = re.compile(
    r"\b(?:or|and) (?:more|less|fewer|greater|higher|lower|larger|smaller|above|under|over|up|later)\b"
    r"|\b(?:at (?:least|most)|to the (?:power|north|south|east|west)|(?:less|more|greater) than|base)\b"
)
# Products of variables: "2pm" without a space, "2 bc" in small letters.
_PRODUCT = re.compile(r"[^A-Za-z]*(?:\d[ap]m|ad|bc|b?ce)")
_WORDS = re.compile(r"(?P<number>.*[\d)}\]])\s*(?P<words>[A-Za-z][A-Za-z .,'()-]*)")
_DATE_FIRST = re.compile(r"(?P<word>[A-Za-z]+)\.?[ ,]+\d[\d ,:]*(?:st|nd|rd|th)?[\d ,:]*")
# "5 ft 6 in", "3 apples and 4 oranges": a number and words, twice or more
_UNITS = r"\s*([A-Za-z][A-Za-z.'-]*(?:[\s,]+[A-Za-z][A-Za-z.'-]*)*)"
_QUANTITY = re.compile(rf"(?<![\d.,/])(-?\d[\d.,/]*){_UNITS}")
_QUANTITIES = re.compile(rf"-?\d[\d.,/]*{_UNITS}(?:[\s,]+\d[\d.,/]*{_UNITS}){{0,7}}(?:[\s,]+\d[\d.,/]*)?")
_JOINER = re.compile(r"[\s,]*\b(?:and|or)$")
_NO_QUANTITY = re.compile(r"(?:and|or|to|mod|sqrt|sin|cos|tan|log|ln|exp|pi|[a-z])\b")
_SHORT_UNIT = {"h", "m", "s", "d", "g"}
_LONGEST = 120  # characters
_TOKEN = re.compile(r"[a-z]+|\d+(?:[.,]\d+)*|\S")


def plain(text: str) -> str:
    """Write upright text and spaces of LaTeX plainly, with small letters and without the dots of "p.m."."""
    text = _BLANK.sub(" ", UPRIGHT.sub(r" \1 ", text)).casefold()
    return " ".join(_HALF_OF_DAY.sub(lambda match: f"{match[1] or match[2]}m", text).split())


def is_unit(words: str) -> bool:
    """Whether words behind a number, as `plain` writes them, are its unit."""
    separate = [word.strip(".,()") for word in words.split()]
    if not separate:
        return True
    if separate[0] in _FIRST_ONLY or re.search(r"(?<![a-z^{-])\d", words):
        return False
    return not _NO_UNITS.intersection(separate) and _PHRASE.search(words) is None


def scaled(number: str, words: str) -> tuple[str, str]:
    """Multiply a number by the scale words behind it, "million" say; return it with the other words."""
    while scale := _FIRST_SCALE.match(words):
        words = words[scale.end() :]
        number = times(number, _SCALES[scale[1].casefold()])
    return number, words


def scaled_in_prose(text: str) -> str:
    """Write out "5 million" in a text."""
    return _IN_PROSE.sub(lambda match: times(match[1], _SCALES[match[2].casefold()]), text)


def worded(text: str) -> list[str] | None:
    """Read a number that is compared with its words: all of them in order; None for any other text."""
    if len(text) > _LONGEST or not _LETTER.search(text) or _PRODUCT.fullmatch(text):
        return None
    text = plain(text)
    match = _WORDS.fullmatch(text)
    is_worded = (
        match and not _LETTER.search(_COMMAND.sub("", match["number"])) and not is_unit(match["words"])
    )
    first = _DATE_FIRST.fullmatch(text)
    if is_worded or (first and first["word"] in _DATES) or _is_compound(text):
        return _TOKEN.findall(text)
    return None


def without_units(text: str) -> str | None:
    """Write a list of quantities in the same unit, "3 cm and 4 cm", as numbers; None for any other text."""
    quantities = _quantities(plain(text)) if len(text) <= _LONGEST and _LETTER.search(text) else []
    numbers, units = [number for number, _ in quantities], {unit for _, unit in quantities}
    return ", ".join(numbers) if len(numbers) > 1 and len(units) == 1 and all(map(is_unit, units)) else None


def _is_compound(text: str) -> bool:
    """Whether a text is a quantity in several units, or several of different things."""
    return len({unit for _, unit in _quantities(text)}) > 1


def _quantities(text: str) -> list[tuple[str, str]]:
    """Divide a text of numbers with units behind them; empty if it is any other text."""
    if not _QUANTITIES.fullmatch(text):
        return []
    quantities = [(match[1].rstrip(","), _JOINER.sub("", match[2])) for match in _QUANTITY.finditer(text)]
    if last := re.search(r"[\s,](\d[\d.,/]*)$", text):
        quantities.append((last[1], ""))
    if any(
        _NO_QUANTITY.match(unit) and unit.split()[0].strip(",") not in _SHORT_UNIT for _, unit in quantities
    ):
        return []
    return quantities


def times(number: str, factor: int) -> str:
    """Multiply a number, written out where it is a decimal."""
    if not _DECIMAL.fullmatch(number.strip()):
        return rf"{number} \times {factor}"
    value = Decimal(number.replace(",", "")) * factor
    return f"{value.normalize():f}" if "." in number else f"{value:f}"
