r"""The same answer in another form: percent, degrees, several inequalities, a `\pm` for two values."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

from apo_core.verifiers import math_compare
from apo_core.verifiers.math_inequalities import needs_rewriting, region

_CIRCLE = r"^\circ"
_PERCENT = r"\%"
_LETTERS = re.compile(r"(?<![A-Za-z\\])[A-Za-z]")
_RELATION = re.compile(r"[<>]|\\[lg](?:e|t)")
_BOTH = re.compile(r"\\pm(?![A-Za-z])")
_MINUS = re.compile(r"\\mp(?![A-Za-z])")
_NAME = re.compile(r"^\s*[A-Za-z](?:_\{?\w+\}?)?\s*=\s*")
_MARKED = re.compile(r"(?<!\\)\$|\\boxed|\\\[|\\\(")
_DEEPEST = 12  # brackets in each other: math-verify takes seconds beyond
_BRACKET = re.compile(r"[(){}\[\]]")


def expressions_equal(gold: tuple[Any, ...], answer: tuple[Any, ...]) -> bool:
    """Whether a gold answer, as `parsed`, equals an answer; nothing equals what has no expression."""
    if not gold or not answer:
        return False
    # math-verify parses to an expression, if it can, and the text of that expression last.
    if gold[-1] == answer[-1]:
        return True
    return math_compare.equal(gold[0], answer[0])


def percent_equal(gold: str, text: str) -> bool | None:
    """Compare percentages: 12.5% is 0.125, and 12.5 where the sign was left out; None if neither is one.

    A number below 1 is a share already: 0.5 is not 0.5%.
    """
    is_percent = gold.endswith(_PERCENT), text.endswith(_PERCENT)
    values = [side.removesuffix(_PERCENT).strip() for side in (gold, text)]
    if not any(is_percent) or any(_LETTERS.search(value) or _PERCENT in value for value in values):
        return None
    own, other = (parsed(as_latex(value)) for value in values)
    if not own or not other:
        return None
    if all(is_percent):
        return expressions_equal(own, other)
    percentage, number = (own, other) if is_percent[0] else (other, own)
    return _percentage_equal(percentage[0], number[0])


def _percentage_equal(percentage: Any, number: Any) -> bool:
    import sympy

    if not (isinstance(percentage, sympy.Expr) and isinstance(number, sympy.Expr)):
        return False
    if math_compare.equal(number, percentage / 100):
        return True
    return bool(abs(sympy.N(percentage)) >= 1) and math_compare.equal(number, percentage)


def degrees_equal(gold: str, text: str) -> bool:
    """Whether an angle in degrees equals one in radians."""
    in_degrees = _CIRCLE in gold, _CIRCLE in text
    if sum(in_degrees) != 1 or r"\pi" not in gold + text:
        return False
    first, other = (
        rf"\frac{{{side.replace(_CIRCLE, '')} \pi}}{{180}}" if _CIRCLE in side else side
        for side in (gold, text)
    )
    return expressions_equal(parsed(f"${first}$"), parsed(f"${other}$"))


def regions_equal(gold: str, text: str) -> bool:
    """Whether inequalities, or sets and intervals, describe the same numbers."""
    if not (_RELATION.search(gold + text) and (needs_rewriting(gold) or needs_rewriting(text))):
        return False
    own, other = region(gold), region(text)
    if own is None or other is None or (own.variable and other.variable and own.variable != other.variable):
        return False
    return expressions_equal(parsed(f"${own.latex}$"), parsed(f"${other.latex}$"))


def both_signs_equal(gold: str, text: str) -> bool:
    r"""Whether answers are equal once a `\pm` is written out as two values."""
    if not (_BOTH.search(gold) or _BOTH.search(text)):
        return False
    own, other = _both_signs(gold), _both_signs(text)
    return expressions_equal(parsed(f"${own}$"), parsed(f"${other}$"))


def _both_signs(text: str) -> str:
    if not _BOTH.search(text) or "," in text:
        return text
    text = _NAME.sub("", text)
    signs = (("+", "-"), ("-", "+"))
    return ", ".join(_MINUS.sub(second, _BOTH.sub(first, text)) for first, second in signs)


def as_latex(text: str) -> str:
    r"""A bare answer ("2\sqrt{13}") is LaTeX without its dollars: read as prose, it would be the number 2."""
    return text if _MARKED.search(text) else f"${text}$"


@lru_cache(maxsize=8)  # one completion asks for it twice
def parsed(text: str) -> tuple[Any, ...]:
    """Parse a text; empty if math-verify finds no expression."""
    from math_verify import parse

    if _is_too_deep(text):
        return ()
    try:
        return tuple(parse(text, _targets(), parsing_timeout=None, raise_on_error=True))
    except ValueError:  # for instance a number of more digits than Python reads
        return ()


def _is_too_deep(text: str) -> bool:
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth = depth + 1 if bracket[0] in "({[" else max(depth - 1, 0)
        if depth > _DEEPEST:
            return True
    return False


@lru_cache(maxsize=1)
def _targets() -> tuple[Any, ...]:
    """Configure what math-verify reads: it would take variables at the end of an expression for units."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig

    latex = LatexExtractionConfig()
    without_units = replace(latex.normalization_config, units=False)
    return replace(latex, normalization_config=without_units), ExprExtractionConfig()
