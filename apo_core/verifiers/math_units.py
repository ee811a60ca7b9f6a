r"""Units behind a number, which are not compared.

A unit is upright (`\text{ cm}`), one of LaTeX's own (`\,\Omega`), a word ("apples"), or a known name ("kg",
"m/s"). Other letters are variables: "\frac{1}{2} mv^2", "2 GM" and "4xyz" stay whole.
"""

from __future__ import annotations

import re

from apo_core.verifiers.latex import TEXT
from apo_core.verifiers.math_words import is_unit, plain, scaled, without_units

SPACE = r"(?:\\[ ,;:!]|~|\s|\\quad(?![A-Za-z]))*"

# Words that are none: names of functions, words that join or state a condition, and variables side by side.
_NO_UNIT = (
    r"(?!(?i:and|or|if|for|when|where|mod|to|times|over|choose|infinity|inf|sqrt|arc\w+|sin|cos|tan|sinh|cosh|tanh|log"
    r"|ln|exp|gcd|lcm|pi|alpha|beta|gamma|delta|epsilon|theta|lambda|sigma|omega|percent|pct|percentage|am|pm)\b"
    r"|(?:dx|dy|dt|abc?|bc|ac|xyz?|yz|xz|ax|bx|by|cx|mn|pqr?|qr|rst?|uv|nk|kn|rt)\b)"
)
# Names behind a plain number and a space only: elsewhere their letters are variables as well.
_SYMBOL = (
    r"(?:[mgsLlNJWVAKCFhTt]|[kcdµn]m|[kM]g|ms|[mk]?[lL]|[kM][NJWV]|[kMGTm]?(?:Hz|Pa|eV|mol|rad)|m[LAVJWs]|kWh"
    r"|[kMGT]B|[kMG]bps|mph|kph|rpm|ft|in|mi|yd|oz|lb|lbs|hr|hrs|min|mins|sec|secs|yr|yrs|wk|gal|qt|pt|sq|cu|cc|cal|kcal"
    r"|deg|amu|atm|dm|men|pts?|km/h|cents?|bps|sq\.|cu\.|ha|au)(?![A-Za-z])"
)
# Units behind any number
_CLEAR = r"(?:[kcm]m|kg|mph|kWh|kHz|MHz|GHz|Hz|kPa|keV|MeV|eV|mol|lbs|hrs|mins|secs)(?![A-Za-z])"
_WORD = r"[A-Za-z](?=[a-z]*[aeiouy])[a-z]{3,}(?![A-Za-z])\.?"
_NOUN = (
    r"(?:(?:men|cats?|dogs?|pens?|cups?|hats?|cars?|bags?|days?|ways?|eggs?|pies?|per|each|of)\b|(?:sq|cu)\.)"
)
_LINK = r"(?:a|an|the|in|on|by|old)\b"
_POWER = r"(?:\^\s*(?:\{\s*-?\d\s*\}|-?\d))?"
_BETWEEN = r"\s?(?:/|\\cdot|\*)\s?"
_NAMES = rf"(?:{_SYMBOL}|{_WORD}){_POWER}"
_FIRST = rf"{_NO_UNIT}(?:{_WORD}|{_NOUN}|{_SYMBOL}){_POWER}"
_NEXT = rf"(?:{_NO_UNIT}(?:{_WORD}|{_NOUN}|{_LINK}){_POWER}|[kcm]m{_POWER})"
_UNIT = rf"{_NO_UNIT}(?:{_NAMES}(?:{_BETWEEN}{_NAMES}){{1,4}}|{_FIRST}(?:(?:\s|(?<=\.)){_NEXT}){{0,5}})"
_LONG_WORD = r"[A-Za-z](?=[a-z]*[aeiou])[a-z]{4,}"
_CLEAR_UNIT = rf"{_NO_UNIT}(?:{_CLEAR}{_POWER}|{_NOUN}|{_LONG_WORD}{_POWER})(?:{_BETWEEN}{_NAMES})?"
_UPRIGHT = rf"{TEXT}\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}}{_POWER}"
_QUOTIENT = rf"\\[dt]?frac\s*\{{\s*{_UPRIGHT}\s*\}}\s*\{{\s*{_UPRIGHT}\s*\}}"
_UPRIGHT_UNIT = rf"(?:{SPACE}(?:(?:\\cdot|/)?{SPACE}{_UPRIGHT}|{_QUOTIENT}|\(\s*{_UPRIGHT}\s*\))){{1,3}}"
_PLAIN = r"[-+]?\d[\d.,]*(?:\s*/\s*\d+|\s*\\times\s*10\^(?:\d|\{-?\d+\}))?"
_SPACING = r"(?:\\[ ,;:!]|~|\s)+"
_KNOWN = re.compile(_UNIT)
_BEHIND = [
    re.compile(rf"(?P<number>(?:(?!{TEXT}\{{).)*[\w)}}\]%])(?P<unit>{_UPRIGHT_UNIT})\s*\.?"),
    re.compile(rf"(?P<number>{_PLAIN}){_SPACING}(?P<unit>{_UNIT})\s*\.?"),
    re.compile(rf"(?P<number>{_PLAIN})(?P<unit>{_NAMES}/{_NAMES})\s*\.?"),
    re.compile(rf"(?P<number>.*[\d)}}\]]|\\pi){SPACE}(?P<unit>{_CLEAR_UNIT}(?:\s{_NEXT}){{0,4}})\s*\.?"),
]
_VARIABLES = {"i", "e", "x", "y", "z"}  # upright ones too
# Units that are LaTeX: "5\,\Omega", "5~k\Omega", "5\,\mu m", "5\frac{m}{s}"
_SMALL = r"(?:[kcm]?m|mi|ft|k?g|m?L|l|J|N|mol|W|C|V)"
_DIVISOR = r"(?:s|min|h|hr|[cmk]?m|k?g|m?L|mol|C)(?:\^(?:\d|\{\d\}))?"
_IN_TEXT = r"(?:\\(?:text|mathrm)\s*\{{\s*{0}\s*\}}|{0})"
_POWER_OF_TEN = r"10\^(?:\d|\{\s*-?\d+\s*\})"
_LATEX_UNIT = re.compile(
    rf"(?P<number>-?(?:\d[\d.,]*(?:\s*\\(?:times|cdot)\s*{_POWER_OF_TEN})?|{_POWER_OF_TEN}))"
    rf"(?:{_SPACING}(?:[kMGm]?\\Omega|\\mu\s*{_IN_TEXT.format('[msgFLVACHNW]')})"
    rf"|{SPACE}\\[dt]?frac\s*\{{\s*{_IN_TEXT.format(_SMALL)}\s*\}}\s*\{{\s*{_IN_TEXT.format(_DIVISOR)}\s*\}})"
)
_NAMED = re.compile(r"(?P<name>.*[^<>!\\=]=\s*)(?P<value>[^=]*\d[^=]*)", re.DOTALL)  # "v = 18 m/s"
_LONGEST = 200  # characters of an answer with a unit
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LETTERS = re.compile(r"[A-Za-z]")


def without_unit(text: str) -> str:
    """Drop the unit behind a number, multiplied by scale words; letters that may be variables stay."""
    if len(text) > _LONGEST or not _LETTERS.search(text):
        return text
    if numbers := without_units(text):
        return numbers
    if latex := _LATEX_UNIT.fullmatch(text):
        return latex["number"]
    for pattern in _BEHIND:
        if (match := pattern.fullmatch(text)) and (number := _number(match)):
            return number
    if named := _NAMED.fullmatch(text):
        return named["name"] + without_unit(named["value"])
    return text


def _number(match: re.Match[str]) -> str | None:
    """Read the number of a number and a unit; None if the words are no unit."""
    before = match["number"].strip()
    words = plain(match["unit"])
    if _LETTERS.search(_COMMAND.sub("", before)):  # "2x\text{ cm}"
        return before if match.re is _BEHIND[0] and _KNOWN.fullmatch(words) else None
    number, unit = scaled(before, words)
    if unit in _VARIABLES and match["unit"] != unit:
        return f"{number} {unit}"
    return number if is_unit(unit) else None
