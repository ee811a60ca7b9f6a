"""Whether a text is one number, with words and units that leave it what it is."""

from __future__ import annotations

import re

from apo_core.verifiers.number_text import Number, indices_in
from apo_core.verifiers.number_words import is_ambiguous

# Around the one number of a gold answer: words and units, a currency, a percent sign, "x =".
_NAMED = re.compile(r"^[^\W\d]\w*(?:\([a-z]\))?\s*=")
_WRAPPERS = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf)|mbox|fbox|underline|boxed|boldsymbol|bm|emph|bf|rm"
    r"|left|right|displaystyle|large|Large|huge|circ|degree|pounds|euro|quad)(?![A-Za-z])"
    r"|\\[,;:!%$() \[\]]|\^\{?\\circ\}?"
    r"|\\(?:text|frame|f)?color(?:box)?\s?\{[A-Za-z]*\}|[kMG]?\\Omega(?![A-Za-z])"
)
_UNITS = re.compile(r"(?<=[^\W\d_])(?:\*\*|\^|\s?[/*\u00b7]\s?|-)(?=[^\W\d_])|-(?=[^\W\d_]{2})")
# A unit as a fraction: "18\\,\\frac{m}{s}"; what is upright is a unit anyhow
_LENGTH = r"(?:[kc]?m|k?g|mi|miles|ft|\\(?:text|mathrm)\s?\{[A-Za-z ]{1,20}\})"
_DURATION = r"(?:s|h|hr|min|sec|mol|c?m|L|\\(?:text|mathrm)\s?\{[A-Za-z ]{1,20}\})"
_UNIT_FRACTION = re.compile(
    rf"(?<=[\d\s,;:}}])\s?\\[dt]?frac\s?\{{\s*{_LENGTH}\s*\}}\s?\{{\s*{_DURATION}(?:\^\{{?\d\}}?)?\s*\}}"
)
_PLAIN_TEXT = re.compile(
    r"[^+*^<>\u2248\u2264\u2265\u00b1\u2260\u00d7\u00f7\u221a\u03c0!|\\_/\u2026\u221e-]*"
)
_VARIABLE = re.compile(r"\s*[abceijknqrtuvwxyz][\s}$]*", re.ASCII)
# Words right before or behind a number that say it is not the answer itself: "less than 5", "5 or more"
_BOUND = re.compile(
    r"(?:\b(?:(?:less|fewer|more|greater|larger|smaller|higher|lower|other|rather) than|at (?:least|most)"
    r"|up to|over|under|above|below|beyond|exceed(?:s|ing)|not|except|but|twice|double|triple|half"
    r"|(?:root|log|logarithm|half|third|quarter|sine|cosine|reciprocal|inverse|square|cube) of)"
    r"|\u81f3\u5c11|\u81f3\u591a|\u6700\u591a|\u6700\u5c11|\u5927\u4e8e|\u5c0f\u4e8e|\u8d85\u8fc7|\u4e0d\u5230|\u4e0d\u8db3|\u4e0d\u662f)[\W_]*$",
    re.IGNORECASE,
)
_OR_MORE = re.compile(
    r"[\W_]*(?:(?:[^\W_]{1,20}\s){0,2}(?:or|and)\s(?:more|less|fewer|greater|above|below|higher|lower|over|under|older|younger)\b"
    r"|\u4ee5\u4e0a|\u4ee5\u4e0b|\u4ee5\u5185|\u591a)",
    re.IGNORECASE,
)
# Of a gold answer, which has to say more than a completion
_ABOUT = re.compile(
    r"(?:\b(?:about|approximately|approx|around|roughly|nearly|almost|circa|close to)"
    r"|\u7ea6|\u5927\u6982)[\W_]*$",
    re.IGNORECASE,
)
_OR_SO = re.compile(r"\s?\u5de6\u53f3|[ ]or[ ]so\b")


def cleaned(text: str) -> str:
    """Drop bold face around an answer, and a unit that is a fraction."""
    return _UNIT_FRACTION.sub(" ", text.strip("*_` \n"))


def is_alone(text: str, number: Number) -> bool:
    """Whether words and units alone stand around a number."""
    start = _NAMED.match(text)
    before = text[start.end() if start and start.end() <= number.start else 0 : number.start]
    behind = list(text[number.end :])
    for first, last in indices_in(text):
        if first >= number.end:
            behind[first - number.end : last - number.end] = " " * (last - first)
    after = "".join(behind)
    if _VARIABLE.fullmatch(after) or before.strip() == "~":  # "5x", "~5"
        return False
    before, after = (_UNITS.sub(" ", _WRAPPERS.sub(" ", part)) for part in (before, after))
    if _BOUND.search(before[-40:]) or _OR_MORE.match(after):
        return False
    return bool(_PLAIN_TEXT.fullmatch(before) and _PLAIN_TEXT.fullmatch(after))


def is_vague(text: str, number: Number) -> bool:
    """Whether a gold answer is about a number, a time of day, or one with a letter that may multiply it."""
    before, after = _WRAPPERS.sub(" ", text[: number.start]), text[number.end :]
    return bool(_ABOUT.search(before[-40:]) or _OR_SO.match(after)) or is_ambiguous(text, number.end)
