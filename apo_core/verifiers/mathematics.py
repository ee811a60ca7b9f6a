"""Mathematical expressions, compared by math-verify."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any, ClassVar

from apo_core.verifiers.base import Verdict, compared
from apo_core.verifiers.extraction import Extract, Rule, extract, nothing, unread

# Notation that models write and math-verify does not read: thin spaces in thousands, upright numbers, the
# letter of a multiple choice before its value, the full stop of the sentence.
_TIDY = [
    (re.compile(r"(?<=\d)(?:\\[,;:! ]|\{,\}|~)(?=\d{3}(?!\d))"), ""),
    (re.compile(r"\\(?:text|mathrm|mathbf)(?:bf|rm|it)?\{\s*(-?[\d.,]+)\s*\}"), r"\1"),
    (re.compile(r"^\\(?:text|mathrm|mathbf)(?:bf|rm)?\{\s*\([A-J]\)\s*\}(?:\\[ ,;:]|~|\s)*(?=\S)"), ""),
    (re.compile(r"\.$"), ""),
]


@dataclass(frozen=True)
class MathVerifier:
    r"""Verifier of expressions: right if math-verify finds the completion's expression equal to the answer.

    Neither time nor memory of a comparison is bounded (`9^{9^{9^9}}`). math-verify's own time limits are
    switched off, because a comparison that exceeds them silently scores 0.
    """

    rules: tuple[Rule, ...]
    name: ClassVar[str] = "math"
    bounded: ClassVar[bool] = False
    reads_row: ClassVar[bool] = False

    @property
    def version(self) -> str:
        """See `Verifier`."""
        return f"5+math-verify-{version('math-verify')}:{','.join(self.rules)}"

    def load(self) -> None:
        """See `Verifier`."""
        logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its limits are off
        _same("1", _expressions(Extract("boxed", "2")))

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`."""
        return None if _gold(answer) else "has no expression to compare with"

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        extracted = extract(completion, self.rules)
        if extracted is None:
            return nothing(self.rules)
        read = _expressions(extracted)
        if not read:
            return unread(extracted, "expression")
        # Without a mark, report the parsed expression instead of the whole text around it.
        shown = str(read[-1]) if extracted.rule == "last" else extracted.text
        return compared(_same(answer, read), shown[-1000:], answer)


def _same(answer: str, read: tuple[Any, ...]) -> bool:
    """Whether the gold answer equals the parsed expressions of a completion."""
    from math_verify import verify

    gold = _gold(answer)
    # math-verify parses to an expression, if it can, and the text of that expression last.
    if gold[-1] == read[-1]:
        return True
    return bool(verify(gold[0], read[0], timeout_seconds=None, raise_on_error=True))


def _expressions(extracted: Extract) -> tuple[Any, ...]:
    if extracted.rule == "last":
        return _parsed(extracted.text)
    text = _tidied(extracted.text)
    return _parsed(rf"\boxed{{{text}}}" if extracted.rule == "boxed" else _as_latex(text))


@lru_cache(maxsize=256)  # a prompt has many completions
def _gold(answer: str) -> tuple[Any, ...]:
    return _parsed(_as_latex(_tidied(answer)))


def _as_latex(text: str) -> str:
    r"""A bare answer ("2\sqrt{13}") is LaTeX without its dollars: read as prose, it would be the number 2."""
    marked = re.search(r"(?<!\\)\$", text) or "\\boxed" in text or "\\[" in text or "\\(" in text
    return text if marked else f"${text}$"


def _tidied(text: str) -> str:
    for pattern, replacement in _TIDY:
        text = pattern.sub(replacement, text.strip())
    return text


def _parsed(text: str) -> tuple[Any, ...]:
    from math_verify import parse

    try:
        return tuple(parse(text, parsing_timeout=None, raise_on_error=True))
    except ValueError:  # no expression: for instance a number of more digits than Python reads
        return ()
