r"""Style and labels of an answer, which are no part of it: colours, bold face, "Answer:"."""

from __future__ import annotations

import re

from apo_core.verifiers.brackets import closing_brace
from apo_core.verifiers.latex import TEXT

_COLOUR = re.compile(
    r"\\(?:textcolor|color)\s*(?:\[\w+\])?\s*\{[^{}]*\}|\\(?:boldsymbol|bm|pmb)(?=\s*\{)"
    r"|\\(?:bf|bfseries|boldmath|large|Large|LARGE|huge|Huge|small|displaystyle|textstyle)(?![A-Za-z])"
)
_WHOLE = re.compile(r"(?:\\(?:underline|uline|mathbf|mathrm|mathsf|fbox|colorbox\{\w+\}|mathstrut|bf))?\s*\{")
_DENIAL = r"(?![^}]*\b(?:not|no|less|more|greater|fewer|least|most|than|except|without|minus|negative)\b)"
_LABEL = re.compile(rf"{TEXT}\{{\s*{_DENIAL}[A-Za-z][A-Za-z ]{{0,40}}(?::|=|\bis)\s*\}}\s*(?=\S)")
_DEEPEST = 4  # wrappers of a number
_DIGIT = re.compile(r"\d")


def unstyled(text: str) -> str:
    """Drop colours and sizes, what emphasises the whole of a number, and a label before an answer."""
    text = _COLOUR.sub("", text).strip()
    for _ in range(_DEEPEST):
        wrapper = _WHOLE.match(text) if _DIGIT.search(text) else None
        if wrapper is None or closing_brace(text, wrapper.end()) != len(text) - 1:
            break
        text = text[wrapper.end() : -1].strip()
    return _LABEL.sub("", text, count=1) if _LABEL.match(text) else text
