"""Texts of answers without what makes no difference: spaces, sizes of brackets, upright letters."""

from __future__ import annotations

import re

_SPACES = re.compile(
    r"\\(?:[ ,;:!]|quad|qquad|left|right|displaystyle|limits|big|Big)(?![A-Za-z])|\\[ ,;:!]|[\s$~]"
)
TEXT = re.compile(r"\\(?:text|mathrm|mathbf|mbox|textrm|operatorname|mathit)(?:bf|rm|it)?\s*\{([^{}]*)\}")
_SINGLE = re.compile(r"\{([\w*])\}")
ELLIPSIS = re.compile(r"\.{3,}|\\[lc]?dots(?![A-Za-z])")
PRIME = re.compile(r"(?<=[A-Za-z)}])(?:'+|\^\{?(?:\\prime\s*)+\}?)")


def key(text: str) -> str:
    """Make texts alike that differ by spaces, sizes of brackets and upright letters only."""
    text = TEXT.sub(r"\1", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = ELLIPSIS.sub(
        "...", PRIME.sub(lambda match: "'" * (match[0].count("prime") or len(match[0])), text)
    )
    text = _SINGLE.sub(r"\1", _SPACES.sub("", text))
    return text.removesuffix(".") if not text.endswith("..") else text


def plain(text: str) -> str:
    """Write upright text and spaces of LaTeX plainly."""
    return re.sub(r"\\[ ,;:!]|[$~]", " ", TEXT.sub(r"\1", text)).strip()
