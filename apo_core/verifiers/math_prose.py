"""The last expression of a text, for math-verify to find."""

from __future__ import annotations

import re

from apo_core.verifiers.latex import PIECES
from apo_core.verifiers.math_key import key
from apo_core.verifiers.math_text import from_unicode, written_out
from apo_core.verifiers.math_units import without_unit
from apo_core.verifiers.math_words import scaled_in_prose

_ASIAN = re.compile("[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+")
_COLON = re.compile(r"(?<!\d):(?=-?\d)")  # math-verify reads a number behind a space only
_LATEX = re.compile(r"(?<!\\)\$|\\[(\[]|\\boxed")
# A point or an interval in prose: "(1,2)", "[0, 1)", "(-infinity, 2]", with no number behind it.
_TERM = r"\s*[-+]?\s*(?:[\w.]+(?:\s?[/^*]\s?[\w.]+)?|\\[a-z]+(?:\{\d+\}){0,2})\s*"
_TUPLE = re.compile(rf"(?<![\w\\)\]])[(\[]{_TERM}(?:,{_TERM}){{1,9}}[)\]](?=[^\d]*$)")
_WRITTEN_OUT = re.compile(
    r"(?<![\d/.\\{}])-?(?:\d*\\frac\{\d+\}\{\d+\}|[\d.]+ \\times 10\^\{-?\d+\}|\d*\\sqrt(?:\[3\])?\{[^{}]*\})"
)
_END = re.compile(r"[\s.!*\"')\]$]*$")
_UNIT = re.compile(r"[\d}]\s*(?:\\|[ ~]|[ckm][mg])")  # may be one
_LONGEST = 120  # characters of an answer that is compared as text


def prepared_prose(text: str) -> str:
    """Rewrite a text so that math-verify finds its last expression."""
    text = from_unicode(text)
    if not text.isascii():
        text = _ASIAN.sub(" ", text)
    text = scaled_in_prose(text)
    text = written_out(_COLON.sub(": ", text))
    if _LATEX.search(text):
        return PIECES.sub(_without_unit, text)
    text = _WRITTEN_OUT.sub(lambda match: f"${match[0]}$", text)
    return text if "$" in text else _TUPLE.sub(lambda match: f"${match[0]}$", text)


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
