"""The last expression of a text, for math-verify to find."""

from __future__ import annotations

import re

from apo_core.verifiers.latex import PIECES
from apo_core.verifiers.math_asian import joined
from apo_core.verifiers.math_asian import scaled as asian_scaled
from apo_core.verifiers.math_key import key
from apo_core.verifiers.math_runs import last_run
from apo_core.verifiers.math_text import from_unicode, prepared, written_out
from apo_core.verifiers.math_units import without_unit
from apo_core.verifiers.math_words import scaled_in_prose

_ASIAN = re.compile("[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+")
_COLON = re.compile(r"(?<!\d):(?=-?\d)")  # math-verify reads a number behind a space only
_LATEX = re.compile(r"(?<!\\)\$|\\[(\[]|\\boxed")
_END = re.compile(r"[\s.!*\"')\]$]*$")
_UNIT = re.compile(r"[\d}]\s*(?:\\|[ ~]|[ckm][mg])")  # may be one
_BOLD = re.compile(r"(?<!\w)\*\*|\*\*(?!\w)")
_FUNCTION = re.compile(r"(?<![\\A-Za-z])(?:sin|cos|tan|ln|log|exp)(?![a-z])")
_DOLLAR = re.compile(r"(?:\b(?:US|CA?|AU?|HK|NZ|R|S))?\\\$(?=\s?[\d.])")
_SEARCHED = 8000  # characters at the end of a response
_LONGEST = 120  # characters of an answer that is compared as text


def prepared_prose(text: str, *, is_list: bool = False) -> str:
    """Rewrite a text so that math-verify finds its last expression.

    Args:
        text: a response.
        is_list: whether the gold answer has several values.
    """
    text = from_unicode(_shortened(text))
    if not text.isascii():
        text = _ASIAN.sub(" ", asian_scaled(joined(text)))
    text = _DOLLAR.sub(" ", scaled_in_prose(text))
    text = written_out(_COLON.sub(": ", text))
    if _LATEX.search(text):
        return PIECES.sub(_without_unit, text)
    run = last_run(_BOLD.sub("  ", text), is_list=is_list)
    if run is None or run.is_plain:
        return text
    return f"${prepared(_FUNCTION.sub(_with_backslash, run.text))}$"


def _with_backslash(match: re.Match[str]) -> str:
    return rf"\{match[0]}"


def _shortened(text: str) -> str:
    """Take the end of a long text: math-verify's search is quadratic in a run of numbers."""
    if len(text) <= _SEARCHED:
        return text
    start = len(text) - _SEARCHED
    line = text.find("\n", start, start + _SEARCHED // 2)
    return text[line + 1 :] if line >= 0 else text[start:]


def _without_unit(match: re.Match[str]) -> str:
    piece = next(part for part in match.groups() if part)
    if not _UNIT.search(piece) or match.string[match.end() : match.end() + 1].isdigit():  # "$5 and $18"
        return match[0]
    return match[0].replace(piece, without_unit(piece.strip()))


def last_expression(text: str, literal: str) -> str | None:
    """Find an answer that is compared as text at the end of a response; None if it does not end so.

    Args:
        text: a response.
        literal: the gold answer's `key`.
    """
    end = _END.sub("", text[-_LONGEST:])
    for start in range(len(end)):
        before = end[start - 1 : start]
        if (
            not before.isalnum()
            and before not in ("-", "'", "\\")
            and key(end[start:]).casefold() == literal.casefold()
        ):
            return end[start:]
    return None
