r"""Numbers in text: where they are, and the value of each.

Whole numbers and decimals with groups of all kinds, currencies, fractions, mixed numbers, powers (`10^5`) and
`1.5 \times 10^3` have a value, and so have those with words of scale (`number_words`). What is made of digits
and is no plain number has none: `10:30`, `2\sqrt{3}`, `2 pi`, `3i`, `log(5)`, `1011_2`, `0.333...`, `3,14`.
Digits of units, indices and words (`m^2`, `x_1`, `H2O`) are no numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from apo_core.verifiers.number_commands import behind_arguments
from apo_core.verifiers.number_words import with_words

_LONGEST = 100  # characters of a number that is read
_MOST_DIGITS = 400  # of a power or fraction that is computed

_GROUP = r"(?:,\\!|\{,\}|\\[,;:! ]|[,'~_ ])"
_WHOLE = (
    rf"(?:[1-9]\d{{0,2}}(?:{_GROUP}\d{{3}}){{1,30}}(?![\d_])"  # 1,234,567
    r"|[1-9]\d{0,2}(?:\.\d{3}){2,30}(?![\d.]\d)"  # 1.234.567
    r"|\d{1,2}(?:,\d{2}){1,30},\d{3}(?!\d)"  # 12,34,567
    r"|\d+)"
)
_PLAIN = rf"(?:{_WHOLE}(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{{1,4}}(?![\d.]))?"
_SPACE = r"(?:[\s~]|\\[,;:! ]){0,4}"
_CURRENCY = (
    r"(?:\\?\$|\\text\{\s*\\?\$\s*\}|\\pounds|\\euro|[\u20ac\u00a3\u00a5\u20b9\u20a9\u20bd]|"
    r"\b(?:USD|EUR|GBP|JPY|CNY|RMB|INR|CHF|Rs\.?|RM|US\$))\s?"
)
_TERM = rf"(?:\{{\s*(?P<{{0}}>-?\s?{_PLAIN})\s*\}}|(?P<{{0}}_digit>\d))"
_POWER = r"(?:\^|\*\*)(?:\{\s*([+-]?\d{1,4})\s*\}|\(([+-]?\d{1,4})\)|([+-]?\d{1,4}))(?!\d|\.\d|\*\*)"
_TIMES = r"(?:\\times|\\cdot|[*x\u00d7\u00b7\u22c5])"
_ROOT_OR_PI = r"(?:\\sqrt|\\pi|[\u221a\u221b\u221c\u03c0]|pi|sqrt(?=\s?[(\d]))(?![A-Za-z])"
# Functions in plain text, and a fraction of pi
_CALL = (
    r"(?<![A-Za-z\\])(?:(?:sqrt|cbrt)(?=\s?[(\d])|(?:log|ln|exp|sin|cos|tan|gcd|lcm|max|min|floor|ceil|round|abs)"
    r"(?:_?\d{1,3})?(?=\(\s?[-\d]))|(?P<part_of_pi>(?:\\pi|\u03c0|(?<![A-Za-z\\])pi)(?=\s?/\s?\d))"
)


def _term(name: str) -> str:
    return _TERM.replace("{0}", name)


def _power(name: str) -> str:
    return rf"(?P<{name}>{_POWER})"


_TOKEN = re.compile(
    rf"""
      (?P<index>(?<=[^\W\d_]|[}})\]])(?:(?:\^|_)(?:\{{[^{{}}]*\}}|[+-]?\d+)|\*\*[+-]?\d+(?!\d|\*\*)))
    | (?P<call>{_CALL})
    | (?P<hex>\b0[xX][0-9a-fA-F]+)
    | (?P<word>(?<![A-Za-z\\])(?!(?<=\d)[xXeE]\d)(?!{_CURRENCY}\d)[A-Za-z]+\d\w*)
    | (?P<number>
        (?P<sign>[-+]\s*)?(?:{_CURRENCY})?(?P<inner>-)?
        (?:
          (?:(?P<whole>\d{{1,9}}){_SPACE})?\\[dtc]?frac\s?{_term("top")}\s?{_term("bottom")}
        | (?P<integer>\d{{1,9}})(?:[ ]|\\[ ,;:])(?P<over>\d{{1,9}})\s?/\s?(?P<under>\d{{1,9}})(?![\d/])
        | (?P<plain>{_PLAIN})
          (?: {_SPACE}{_TIMES}{_SPACE}10{_power("tens")}
            | {_power("exponent")}
            | \s?(?:/|\\div\s?|\u00f7)\s?(?P<divisor>{_PLAIN})(?![\d/]|{_SPACE}(?:\\sqrt|\\pi|\u221a|\u03c0))
          )?
        )
        (?P<more>
            (?:(?<=\.\d)|(?<=\.\d\d)|(?<=\.\d\d\d)|(?<=\d\d\d\d))(?:\.\.+|\s?\\[lcd]?dots|\u2026)
          | \.?\\(?:overline|bar|dot)\b
          | (?<!,\d)(?<!,\d\d)(?:,|\{{,\}})\d{{1,2}}(?![\d,])
          | (?:[:/]|\.(?=\d)|[eE][+-]?(?=\d))\d[\d:/.]*
          | {_SPACE}(?:{_TIMES}{_SPACE})?{_ROOT_OR_PI}
          | i(?![A-Za-z\d])
          | !(?=\s?(?:\$(?!\d)|\\[)\]]|/|=))
          | _(?:\{{[^{{}}]*\}}|\w)
          | \^(?!\{{?\\circ|\{{?\\prime)
        )?
      )
    | (?P<command>\\(?:[dtc]?frac|[dt]?binom|sqrt|log|ln)|[\u221a\u221b\u221c])
    """,
    re.VERBOSE,
)
_MULTIPLIED = re.compile(rf"(?:\s?(?:/|\\div|{_TIMES})\s?{_PLAIN}){{0,3}}")
_LATIN = re.compile(r"(?:\\[A-Za-z]+|(?P<letter>[^\W\d_]))\s*$")
_BEFORE_A_SIGN = frozenset("=([{,:<>$&\u2248\u2264\u2265")


class Number(NamedTuple):
    """A number, or something made of digits that is no plain number."""

    value: Decimal | Fraction | None
    text: str
    start: int
    end: int


def last_number(text: str) -> Number | None:
    """Find the last number of a text, line by line from the end."""
    end = len(text)
    while end >= 0:
        start = text.rfind("\n", 0, end) + 1
        numbers = list(numbers_in(text, start, end))
        if numbers:
            return numbers[-1]
        end = start - 1
    return None


def numbers_in(text: str, at: int = 0, end: int | None = None) -> Iterator[Number]:
    """Yield the numbers of a text that `notation.to_ascii` has gone through, in order."""
    end = len(text) if end is None else end
    while match := _TOKEN.search(text, at, end):
        at = match.end()
        if match["command"] or match["call"]:
            count = 0 if match["part_of_pi"] else 2 if match[0][-4:] in ("frac", "inom") else 1
            at = _behind_factors(text, behind_arguments(text, match.end(), count))
            yield Number(None, text[match.start() : at], match.start(), at)
        elif match["number"]:
            if match["more"]:
                at = behind_arguments(text, match.end(), int(_takes_more(match["more"])))
                at = _behind_factors(text, at)
            number = _number(text, match, at)
            at = number.end
            yield number
        elif match["hex"]:
            yield Number(None, match[0], match.start(), at)


def indices_in(text: str) -> Iterator[tuple[int, int]]:
    """Yield where digits stand that belong to units, variables and words."""
    for match in _TOKEN.finditer(text):
        if match["index"] or match["word"]:
            yield match.span()


def _takes_more(more: str) -> bool:
    return more[-1] not in "0123456789}.i!\u03c0"


def _behind_factors(text: str, at: int) -> int:
    match = _MULTIPLIED.match(text, at)
    return match.end() if match else at


def _number(text: str, match: re.Match[str], end: int) -> Number:
    negative, start = _sign(text, match)
    shown = text[start:end]
    if match["more"] or len(match[0]) > _LONGEST or _is_of_another(text, match.start()):
        return Number(None, shown, start, end)
    value = _value(match)
    if value is None:
        return Number(None, shown, start, end)
    if negative != (match["inner"] == "-"):
        value = value.copy_negate() if isinstance(value, Decimal) else -value  # `-` would round
    value, end = with_words(value, shown, text, end)
    return Number(value, text[start:end], start, end)


def _sign(text: str, match: re.Match[str]) -> tuple[bool, int]:
    """Whether a minus before a number is its sign, and where the number begins with its sign.

    A minus right behind a digit, a letter or a bracket subtracts or joins words. Followed by a space it is a
    sign where nothing stands before it that could be subtracted from, and not the mark of a list.
    """
    sign = match["sign"]
    start = match.start()
    if not sign:
        return _named_minus(text, start), start
    before = text[max(0, start - 40) : start]
    if len(sign) == 1:
        command = _LATIN.search(before) if before and not before[-1].isspace() else None
        joined = before[-1:].isdigit() or before[-1:] in (")", "]", "'") or (command and command["letter"])
        is_sign = not joined
    else:
        before = before.rstrip(" \t~")
        command = _LATIN.search(before)
        is_sign = before[-1:] in _BEFORE_A_SIGN if before else "\n" not in text
        is_sign = bool(is_sign or (command and not command["letter"]))
    return is_sign and sign[0] == "-", start if is_sign else start + len(sign)


def _named_minus(text: str, start: int) -> bool:
    before = text[max(0, start - 12) : start].casefold()
    named = re.search(r"(.?)\s?\b(?:minus|negative)\s$", before)
    return named is not None and not named[1].isdigit()


def _is_of_another(text: str, start: int) -> bool:
    """Whether a number is a deviation, or what a root is taken of."""
    before = text[max(0, start - 10) : start].rstrip(" $")
    return before.endswith(("\u00b1", r"\pm", r"\mp", "root of"))


def _value(match: re.Match[str]) -> Decimal | Fraction | None:
    """Compute the value; None if there is none, or if it would have too many digits to compute with."""
    if match["top"] or match["top_digit"]:
        terms = (match[name] or match[f"{name}_digit"] for name in ("top", "bottom"))
        top, bottom = (_fraction(_decimal(term)) for term in terms)
        return int(match["whole"] or 0) + top / bottom if top is not None and bottom else None
    if match["over"]:
        under = int(match["under"])
        return int(match["integer"]) + Fraction(int(match["over"]), under) if under else None
    plain = _decimal(match["plain"])
    if match["divisor"]:
        top, bottom = _fraction(plain), _fraction(_decimal(match["divisor"]))
        return top / bottom if top is not None and bottom else None
    if match["tens"]:
        return Decimal(f"{plain}e{_exponent(match['tens'])}") if "E" not in str(plain) else None
    if match["exponent"]:
        return _powered(_fraction(plain), _exponent(match["exponent"]))
    return plain


def _powered(base: Fraction | None, exponent: int) -> Fraction | None:
    if base is None or (base == 0 and exponent < 0):
        return None
    digits = math.log10(max(abs(base.numerator), base.denominator)) * abs(exponent)
    return base**exponent if digits <= _MOST_DIGITS else None


def _exponent(power: str) -> int:
    return int(re.sub(r"[^\d-]", "", power))


def _fraction(number: Decimal) -> Fraction | None:
    """Make a fraction; None if writing the number out takes too many digits (1e9999)."""
    _, digits, exponent = number.as_tuple()
    return Fraction(number) if len(digits) + abs(int(exponent)) <= _MOST_DIGITS else None


def _decimal(text: str) -> Decimal:
    text = re.sub(r"[^\d.eE+-]", "", text)
    return Decimal(text.replace(".", "") if text.count(".") > 1 else text)
