"""Words behind a number that make it another: "5 million", "5 and a half", "18万", "5 hours 30 minutes"."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

_MOST_DIGITS = 400  # of a number that is multiplied
_LARGEST = 10**30  # product of words of scale

# Between a number and its word: spaces, a hyphen, the end of bold face or of LaTeX, the beginning of text
_GAP = r"(?:[ \t~$-]|\\[,;:! ]|\*\*|\\(?:text(?:bf|rm)?|mathrm|mbox)\s?\{){0,5}"

_FACTORS = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "mln": 10**6,
    "billion": 10**9,
    "bn": 10**9,
    "trillion": 10**12,
    "lakh": 10**5,
    "crore": 10**7,
} | dict(zip("百백千천万萬만亿億억", [10**2] * 2 + [10**3] * 2 + [10**4] * 3 + [10**8] * 3, strict=True))
_WORDS = "|".join(word for word in _FACTORS if word.isascii())
# 千 and 百 begin names of units too: 千克 is a kilogram. "5 hundred-dollar bills" are 5.
_SCALE = re.compile(
    rf"{_GAP}(?:(?P<word>{_WORDS})s?(?![A-Za-z]|-[a-z])"
    r"|(?P<sign>[万萬만亿億억]|[千천](?![克米瓦卡焦帕伏赫安牛字比公升])|[百백](?![帕分])))",
    re.IGNORECASE,
)
# "$5k", "£3m"; "$5m$" is LaTeX, and so may "$5m" be
_AMOUNT = re.compile(r"(?:[kK]|[mMbB]n?)(?![\w$^])")
_SMALLER = re.compile(r"(?:[ ]and)?[ ]?\d{1,9}(?:[.,]\d{1,9})?")  # "5 million 300 thousand", "1万5千"
_RUN = re.compile(r"[ ]?\d[\d.,百千万萬亿億]*")

_PARTS = {
    "half": Fraction(1, 2),
    "third": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "two thirds": Fraction(2, 3),
    "three quarters": Fraction(3, 4),
    "three fourths": Fraction(3, 4),
}
_AND_A_PART = re.compile(
    r"(?:[ ]and[ ](?:(?:an?|one)[ -])?|[ ][A-Za-z]{1,12}[ ]and[ ](?:a|one)[ -])"
    r"(half|third|quarter|two[ -]thirds|three[ -](?:quarters|fourths))(?![A-Za-z]|[ ]of\b)",
    re.IGNORECASE,
)
# A remainder, a power in words; 兆 is 10^6 in Chinese, 10^12 in Japanese
_ANOTHER = re.compile(
    rf"\s?[rR]\s?\d{{1,9}}(?!\w)|{_GAP}兆(?![瓦赫帕焦欧字比])"
    rf"|{_GAP}(?:squared|cubed|factorial)(?=[\s}}$]*(?:$|[.,;)=]))"
)
# A word that leaves a number as it is in a completion, since the question may be for dozens or for kelvins
_AMBIGUOUS = re.compile(
    rf"(?-i:[KMB]|[kb]n?)(?!\w)|{_GAP}(?:dozens?(?![A-Za-z])|BCE?(?![A-Za-z])|B\.\s?C\.|(?:[ap]m|[ap]\.\s?m\.)(?!\w))",
    re.IGNORECASE,
)

_LADDERS = (
    (
        "year yr 年",
        "month 个月 月",
        "week wk 周",
        "day 天 日",
        "hour hr h 小时 时",
        "minute min m 分钟 分",
        "second sec s 秒",
    ),
    (
        "kilometer kilometre km 千米 公里",
        "meter metre m 米",
        "dm 分米",
        "centimeter centimetre cm 厘米",
        "mm 毫米",
    ),
    ("mile", "yard yd", "foot feet ft", "inch inche in"),
    ("ton tonne 吨", "kilogram kg 千克 公斤", "gram g 克"),
    ("pound lb", "ounce oz"),
    ("dollar buck 元", "角", "cent 分"),
)
_STEPS: dict[str, set[tuple[int, int]]] = {}
for _ladder, _rungs in enumerate(_LADDERS):
    for _rung, _names in enumerate(_rungs):
        for _name in _names.split():
            _STEPS.setdefault(_name, set()).add((_ladder, _rung))
_UNIT = (
    rf"(?P<unit>{'|'.join(sorted(_STEPS, key=len, reverse=True))})(?:(?<=[A-Za-z]{{2}})s)?\.?(?![A-Za-z]|\^)"
)
_FIRST_UNIT = re.compile(_GAP + _UNIT)
_NEXT_UNIT = re.compile(
    rf"(?:[ \t~}},$]|\\[,;:! ]|\band\b|\\(?:text|mathrm)\s?\{{){{0,6}}"
    rf"(?P<number>\d{{1,9}}(?:\.\d{{1,9}})?){_GAP}{_UNIT}"
)
_CENTS = re.compile(r"[ ]?(?:,|and)?[ ]?\d{1,2}[ ]cents?\b")


def with_words(
    value: Decimal | Fraction, shown: str, text: str, end: int
) -> tuple[Decimal | Fraction | None, int]:
    """Read the words behind a number of a text.

    Args:
        value: of the number.
        shown: the number as it is written, with its currency.
        text: that the number is in.
        end: of the number in the text.

    Returns:
        The value with its words, None if that is no plain number; and where the words end.
    """
    if another := _ANOTHER.match(text, end):
        return None, another.end()
    if part := _AND_A_PART.match(text, end):
        return _scaled(_with_part(value, part[1]), text, part.end())
    if amount := _amount(shown, text, end):
        return _times(value, amount), end + len(amount)
    compound = _end_of_compound(shown, text, end)
    return (None, compound) if compound else _scaled(value, text, end)


def is_ambiguous(text: str, end: int) -> bool:
    """Whether what is behind a number may be a unit, or change it: 5K, 2M, 5 dozen, 1200 BC, 5 PM."""
    return _AMBIGUOUS.match(text, end) is not None


def _with_part(value: Decimal | Fraction, name: str) -> Fraction | None:
    part = _PARTS[name.lower().replace("-", " ")]
    number = _fraction(value)
    if number is None or number.denominator != 1:
        return None
    return number - part if number < 0 else number + part


def _amount(shown: str, text: str, end: int) -> str | None:
    """Find the letter that abbreviates a word behind an amount of money."""
    if not re.search(r"[$\u20ac\u00a3\u00a5\u20b9\u20a9]", shown):
        return None
    amount = _AMOUNT.match(text, end)
    may_be_latex = shown.lstrip("+- ").startswith("$")
    return None if amount is None or (amount[0] == "m" and may_be_latex) else amount[0]


def _times(value: Decimal | Fraction, letter: str) -> Decimal | Fraction | None:
    number = _fraction(value)
    factor = {"k": 10**3, "m": 10**6, "b": 10**9}[letter[0].lower()]
    return None if number is None else _plain(number * factor)


def _scaled(value: Decimal | Fraction | None, text: str, end: int) -> tuple[Decimal | Fraction | None, int]:
    """Multiply by the words of scale behind a number: "5 hundred million", 5千万."""
    factor, at = 1, end
    while (scale := _SCALE.match(text, at)) and factor < _LARGEST:
        factor *= _factor(scale)
        at = scale.end()
    if at == end:
        return value, end
    if scale:
        return None, at
    if smaller := _end_of_smaller(text, at, factor):
        return None, smaller
    if value is None or (number := _fraction(value)) is None:
        return None, at
    return _plain(number * factor), at


def _factor(scale: re.Match[str]) -> int:
    return _FACTORS[(scale["word"] or scale["sign"]).lower()]


def _end_of_smaller(text: str, at: int, factor: int) -> int | None:
    """Find where further digits of a number end, as in "5 million 300 thousand" and 1万5千; None without."""
    if text[at - 1] in _FACTORS:
        run = _RUN.match(text, at)
        return run.end() if run else None
    smaller = _SMALLER.match(text, at)
    scale = _SCALE.match(text, smaller.end()) if smaller else None
    return scale.end() if scale and _factor(scale) < factor else None


def _plain(number: Fraction) -> Decimal | Fraction:
    return Decimal(number.numerator) if number.denominator == 1 else number


def _end_of_compound(shown: str, text: str, end: int) -> int | None:
    """Find where an amount in several units ends, as "5 hours 30 minutes"; None if there is one unit."""
    if "$" in shown and (cents := _CENTS.match(text, end)):
        return cents.end()
    at, unit = None, _FIRST_UNIT.match(text, end)
    while unit and (smaller := _NEXT_UNIT.match(text, unit.end())):
        if not _is_smaller(smaller["unit"], unit["unit"]) or not float(smaller["number"]):
            break
        at, unit = smaller.end(), smaller
    return at


def _is_smaller(unit: str, than: str) -> bool:
    return any(
        ladder == other and rung > above for ladder, rung in _STEPS[unit] for other, above in _STEPS[than]
    )


def _fraction(number: Decimal | Fraction) -> Fraction | None:
    """Make a fraction; None if writing the number out takes too many digits (1e9999)."""
    if isinstance(number, Fraction):
        return number
    _, digits, exponent = number.as_tuple()
    return Fraction(number) if len(digits) + abs(int(exponent)) <= _MOST_DIGITS else None
