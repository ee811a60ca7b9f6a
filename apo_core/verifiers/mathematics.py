"""Mathematical expressions, compared by math-verify."""

from __future__ import annotations

import itertools
import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any, ClassVar

from apo_core.verifiers import math_compare
from apo_core.verifiers.base import Verdict, compared, quoted
from apo_core.verifiers.brackets import closing_brace
from apo_core.verifiers.choice_text import labelled, named, unwrapped
from apo_core.verifiers.extraction import Extract, Rule, extract, nothing, unread
from apo_core.verifiers.latex import PIECES, UPRIGHT, pieces_of
from apo_core.verifiers.math_forms import (
    as_latex,
    both_signs_equal,
    degrees_equal,
    expressions_equal,
    parsed,
    percent_equal,
    regions_equal,
)
from apo_core.verifiers.math_key import key
from apo_core.verifiers.math_literal import (
    conclusion,
    derivative,
    is_literal,
    left_side,
    literal_equal,
    loses_transpose,
    residue,
    residues_equal,
)
from apo_core.verifiers.math_prose import last_expression, prepared_prose
from apo_core.verifiers.math_text import prepared
from apo_core.verifiers.missing import missing_problem

_MARKED = re.compile(r"(?<!\\)\$|\\boxed|\\\[|\\\(")
_BETWEEN = re.compile(r"\s*(?:[,;\uff0c\uff1b\u3001]|,?\s*(?:and|or)|\u548c|\u6216\u8005?|\u4e0e|\u3068)?\s*")
_SENTENCE = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}(?![A-Za-z])")
_SOMETHING = re.compile(r"\w|\\[a-zA-Z{]|[^\x00-\x7f]")
_LETTER = re.compile(r"\(?([A-J])\)?")
_MEMBERS = re.compile(r"\S\s*(?:,|\b(?:and|or)\b)\s*\S")
_INSIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|(?<=\d),(?=\d{3}(?!\d))")
_HALF_FRACTION = re.compile(r"\\[dtc]?frac\s*\{[^{}]*\}\s*(?:$|[-+=,)])")


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
        return f"7+math-verify-{version('math-verify')}:{','.join(self.rules)}"

    def load(self) -> None:
        """See `Verifier`."""
        logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its limits are off
        math_compare.equal(parsed("$1$")[0], parsed(r"\boxed{2}")[0])

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`; an answer that math-verify cannot compare with itself is refused."""
        return missing_problem(answer) or missing_problem(_words_alone(answer)) or _gold_problem(answer)

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        extracted = extract(completion, self.rules)
        if extracted is None:
            return nothing(self.rules)
        read = _in_prose(extracted.text, answer) if extracted.rule == "last" else _marked(extracted)
        if read is None:
            return unread(extracted, "expression")
        return compared(_same(answer, read), read.shown[-1000:], answer)


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What a completion gives as its answer."""

    text: str  # LaTeX without its mark
    source: str  # to be parsed, with its mark
    shown: str

    @property
    def parsed(self) -> tuple[Any, ...]:
        return parsed(self.source)


def _marked(extracted: Extract) -> _Answer | None:
    text = conclusion(prepared(extracted.text))
    if not text:
        return None
    source = rf"\boxed{{{text}}}" if extracted.rule == "boxed" else as_latex(text)
    read = _Answer(text=text, source=source, shown=extracted.text)
    return read if is_literal(text) or read.parsed else None


def _in_prose(text: str, answer: str) -> _Answer | None:
    gold = _gold(answer)
    if is_literal(gold) and (literal := last_expression(text, key(gold))):
        return _Answer(text=literal, source=literal, shown=literal)
    if _LETTER.fullmatch(gold) and not _MARKED.search(text):
        letter = named(unwrapped(text))
        return _Answer(text=letter, source=letter, shown=letter) if letter else None
    source = prepared_prose(text, is_list=_is_list(gold))
    pieces = pieces_of(source)
    text = prepared(pieces[-1]) if pieces else ""
    if len(pieces) == 1 and source == f"${pieces[0]}$" and is_literal(text):
        return _Answer(text=text, source=source, shown=pieces[0])
    expressions = parsed(source)
    if not expressions:
        return None
    shown = str(expressions[-1])
    return _Answer(text=text or shown, source=source, shown=shown)


def _is_list(gold: str) -> bool:
    """Whether a gold answer has several values outside of brackets: "3, 5", "x=3 or x=5"."""
    return _MEMBERS.search(_INSIDE.sub("", gold)) is not None


def _same(answer: str, read: _Answer) -> bool:
    """Whether the gold answer equals that of a completion."""
    gold = _gold(answer)
    if (
        key(gold) == key(read.text)
        or key(answer) == key(read.shown)
        or (gold != conclusion(gold) and key(gold) == key(prepared(read.shown)))
    ):
        return True
    if letter := _LETTER.fullmatch(gold):
        return labelled(unwrapped(read.shown)) == letter[1]
    if (remainder := residue(read.text)) is not None:
        return residues_equal(residue(gold), remainder) if residue(gold) else gold == remainder[1]
    sides = derivative(gold), derivative(read.text)
    if any(sides):
        return _derivatives_equal(gold, read.text, *sides)
    literal = literal_equal(gold, read.text)
    if literal is not None:
        return literal
    return not loses_transpose(gold, read.text) and _forms_equal(gold, read)


def _derivatives_equal(
    gold: str, text: str, own: tuple[str, str] | None, other: tuple[str, str] | None
) -> bool:
    """Compare `y' = 2x` with another such equation, or with its right side alone."""
    sides = left_side(gold), left_side(text)
    if None not in sides and sides[0] != sides[1]:
        return False
    left, right = own[1] if own else gold, other[1] if other else text
    literal = literal_equal(left, right)
    if literal is not None:
        return literal
    return expressions_equal(parsed(as_latex(left)), parsed(as_latex(right)))


def _forms_equal(gold: str, read: _Answer) -> bool:
    percent = percent_equal(gold, read.text)
    if percent is not None:
        return percent
    return (
        expressions_equal(_gold_parsed(gold), read.parsed)
        or degrees_equal(gold, read.text)
        or regions_equal(gold, read.text)
        or both_signs_equal(gold, read.text)
    )


def _words_alone(answer: str) -> str:
    r"""Read the words of a gold answer as `\boxed{\text{None}}` and "(None)." are written."""
    return UPRIGHT.sub(r"\1", _gold(answer)).strip("$.() \n")


def _gold_problem(answer: str) -> str | None:
    gold = _gold(answer)
    if not gold or not _SOMETHING.search(gold):
        return "has no expression to compare with"
    if closing_brace(gold, 0) is not None or closing_brace(gold + "}", 0) != len(gold):
        return f"{quoted(answer)} has a brace without its other"
    if _HALF_FRACTION.search(gold):
        return f"{quoted(answer)} has a fraction without its denominator"
    pieces = list(PIECES.finditer(answer))
    if any(
        not _BETWEEN.fullmatch(answer, first.end(), other.start())
        for first, other in itertools.pairwise(pieces)
    ):
        return f"{quoted(answer)} holds {len(pieces)} expressions, not one"
    if is_literal(gold) or _LETTER.fullmatch(gold):
        return None
    if not _MARKED.search(gold) and len(_SENTENCE.findall(gold)) > 2:
        return f"{quoted(answer)} is a sentence: write the expression alone, or take verifier exact"
    expressions = _gold_parsed(gold)
    if not expressions:
        return "has no expression to compare with"
    try:
        right = math_compare.equal(expressions[0], expressions[0])
    except ValueError as error:
        return f"{quoted(answer)} cannot be compared: {error}"
    return None if right else f"{quoted(answer)} is not equal to itself in math-verify"


@lru_cache(maxsize=256)  # a prompt has many completions
def _gold(answer: str) -> str:
    """Read a gold answer: the text of its box, or of its only piece of LaTeX, or all of it."""
    boxed = extract(answer, ("boxed",))
    if boxed is not None:
        return prepared(boxed.text)
    pieces = pieces_of(answer)
    return prepared(pieces[0] if len(pieces) == 1 else answer)


@lru_cache(maxsize=256)
def _gold_parsed(gold: str) -> tuple[Any, ...]:
    return parsed(as_latex(gold))
