r"""Expressions in prose without marks of LaTeX: "The answer is 2x + 1.", "x = 1 or x = 2", "9\pi units"."""

from __future__ import annotations

import re
from typing import NamedTuple

_POWER = r"(?:[\^_](?:\{[^{}\n]*\}|-?\d+|[A-Za-z](?![A-Za-z])))*"
_NUMBER = r"(?:\d+(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\d)\.\d+"
_COMMAND = (
    r"\\(?:[dt]?frac\{[^{}\n]*\}\{[^{}\n]*\}|sqrt(?:\[\d\])?\{(?:[^{}\n]|\{[^{}\n]*\})*\}"
    r"|(?:pi|infty|theta|alpha|beta|lambda|phi|omega|sigma|mu|emptyset)(?![A-Za-z])\s?)"
)
_FUNCTION = (
    r"(?:(?<![A-Za-z])\\?(?:sin|cos|tan|ln|log|exp|sqrt)(?![A-Za-z])\s?"
    r"(?:\([^()\n]{1,60}\)|\d*(?:[A-Za-z](?![A-Za-z])|\\(?:theta|alpha|pi)(?![a-z]))|\d+(?!\w)))"
)
_LETTER = r"(?<![A-Za-z\\'<])[A-Za-z](?![A-Za-z'])"
_INSIDE = r"[^()\n,A-Za-z]|(?<![A-Za-z])[A-Za-z](?![A-Za-z])|\\[a-z]+|\([^()\n,]{1,40}\)"
_BRACKETS = rf"\((?:{_INSIDE}){{1,60}}\)"
# What may follow a factor without a sign of multiplication: "2x", "6xy", "3(x+1)", "2\pi r"
_VARIABLES = r"(?:[A-Za-z]|(?<=\d)[abcnkxyz]{2,3})(?![A-Za-z'])"
_BEHIND = rf"(?:{_COMMAND}|\s?{_FUNCTION}|{_BRACKETS}|{_VARIABLES}){_POWER}"
_FACTOR = (
    rf"(?:{_NUMBER}|{_COMMAND}|{_FUNCTION}|{_BRACKETS}|{_LETTER}){_POWER}(?:{_BEHIND}){{0,6}}(?:!|\s?\\?%)?"
)
_SIGN = r"(?:\s*(?:[-+*/^]|\\(?:times|cdot|div|pm|mp)(?![A-Za-z]))\s*-?|(?<=\d)\s(?=\d+/\d)|(?<=\d):(?=\d))"
_SUM = rf"(?:-|\\pm\s*)?{_FACTOR}(?:{_SIGN}{_FACTOR}){{0,20}}"
_RELATION = r"\s*(?:<=|>=|[<>]|\\(?:leqslant|leq|le|geqslant|geq|ge|ne|lt|gt)(?![A-Za-z]))\s*"
_TERM = rf"\s*(?:{_SUM}|[-+]?\s*\\?infinity)\s*"
_TUPLE = rf"(?<![\w\\)\]])[(\[]{_TERM}(?:,{_TERM}){{1,9}}[)\]]"
_RUN = re.compile(
    rf"(?<![\w\\.|])(?:{_TUPLE}(?:\s*\\cup\s*{_TUPLE}){{0,3}}|{_SUM}(?:{_RELATION}{_SUM}){{0,2}})(?![A-Za-z{{|])"
    r"(?:(?<=:\d\d)\s?[AaPp]\.?\s?[Mm]\b)?"
)
_NAME = r"(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?"
_JOINER = re.compile(rf"\s*(?:[,;]|,?\s*\b(?:and|or)\b)\s*{_NAME}")
_PLAIN = re.compile(r"-?(?:\d+(?:,\d{3})+|\d*)(?:\.?\d+)(?:\s?\\?%|\s?[mshgLlNJWVAKCFtTd])?")
_VALUE = re.compile(r"\d|\\(?:pi|infty|emptyset|sqrt)")
_END = re.compile(r"[\s.!*\"')\]]*$")
_ANSWER = re.compile(
    r"\banswers?\b(?:\s+(?:\w+\s+)?(?:is|are|be)\b|\s*[:=]|\s+(?:to|of|for)\b[^.\n]{0,60}\b(?:is|are)\b)",
    re.IGNORECASE,
)
_EQUALS = re.compile(r"\s*=\s*")
_MANY = re.compile(r"\b(?:answers|solutions|roots|values|zeros)\b[^.\n\d]{0,40}$|=\s*$", re.IGNORECASE)
_UNIT = re.compile(r"[mshgLNJWVAKC](?:\^\{?-?\d\}?)?(?:\s?[/*]\s?[mshgLNJWVAKC](?:\^\{?-?\d\}?)?){0,3}")
_SHORTENED = re.compile(r"[A-Za-z]/[A-Za-z]")
_DIGIT = re.compile(r"\d")
_NUMBER_BEFORE = 25  # characters
_SPAN, _BEFORE = 400, 60  # characters that are searched at the end of a text, and for a word before


class Run(NamedTuple):
    """An expression in prose."""

    text: str
    start: int
    end: int

    @property
    def is_plain(self) -> bool:
        """Whether it is a number, which math-verify finds itself."""
        return _PLAIN.fullmatch(self.text) is not None


def last_run(text: str, *, is_list: bool) -> Run | None:
    """Find the expression behind the last "answer", or the last of a text; None if there is none.

    Args:
        text: prose.
        is_list: whether the gold answer has several values; a text that gives several is read whole then.
    """
    start = max(0, len(text) - _SPAN)
    start = text.find(" ", start) + 1 if start else 0
    runs = [Run(match[0].strip(), *match.span()) for match in _RUN.finditer(text, start)]
    runs = [
        run for run in runs if (_VALUE.search(run.text) or _is_end(text, run)) and not _is_unit(text, run)
    ]
    if not runs:
        return None
    index = _declared(text, runs)
    return _joined(text, runs, index, is_list=is_list)


def _is_end(text: str, run: Run) -> bool:
    """Whether letters and signs alone ("a + b", not "w/o") end the text."""
    return len(run.text) > 2 and not _SHORTENED.fullmatch(run.text) and _END.match(text, run.end) is not None


def _is_unit(text: str, run: Run) -> bool:
    """Whether letters stand for the unit of a number before them: "100 m^2", "5 square m"."""
    if not _UNIT.fullmatch(run.text):
        return False
    return _DIGIT.search(text, max(0, run.start - _NUMBER_BEFORE), run.start) is not None


def _declared(text: str, runs: list[Run]) -> int:
    """Find the run behind the last "answer", past its equals signs; the last run if there is none."""
    last = len(runs) - 1
    said = [match.end() for match in _ANSWER.finditer(text, max(0, runs[0].start - _BEFORE))]
    for end in reversed(said):
        behind = [index for index, run in enumerate(runs) if 0 <= run.start - end <= _BEFORE]
        if behind:
            index = behind[0]
            while index < last and _EQUALS.fullmatch(text, runs[index].end, runs[index + 1].start):
                index += 1
            return index
    return last


def _joined(text: str, runs: list[Run], index: int, *, is_list: bool) -> Run:
    """Join a run to its neighbours where they are one answer."""
    first = last = index
    while first and _JOINER.fullmatch(text, runs[first - 1].end, runs[first].start):
        first -= 1
    while last + 1 < len(runs) and _JOINER.fullmatch(text, runs[last].end, runs[last + 1].start):
        last += 1
    before = text[max(0, runs[first].start - _BEFORE) : runs[first].start]
    if first == last or not (is_list or _MANY.search(before)):
        return runs[index]
    members = ", ".join(run.text for run in runs[first : last + 1])
    return Run(members, runs[first].start, runs[last].end)
