"""Comparison by math-verify, with what it misjudges put right.

- math-verify compares decimals by their absolute difference, so that all small numbers are equal to it; here
  numbers that it finds equal must be near each other relative to their size, too.
- It compares an interval with an inequality one way round only, unless told otherwise.
- It takes variables for any complex number, so that roots that are equal wherever they are real differ.

`tests/unit/apo_core/verifiers/test_math_verify_upstream.py` fails as soon as math-verify does one of them
itself; the part here can go then.
"""

from __future__ import annotations

from typing import Any

# Relative difference of numbers that are equal, one of them rounded. math-verify's six decimals decide over
# numbers that are not small.
_NEAR, _SMALL, _NEAR_IF_SMALL = 1e-4, 1e-3, 2e-6
_POINTS = (0.37, 1.83, 2.71, 5.3, -0.61, -1.7, -4.9)


def equal(gold: Any, answer: Any) -> bool:
    """Whether a parsed gold answer equals a parsed answer.

    Raises:
        ValueError: math-verify cannot compare the gold answer with anything, as 1/0.
    """
    from math_verify import verify

    is_equal = verify(gold, answer, allow_set_relation_comp=True, timeout_seconds=None, raise_on_error=True)
    return near(gold, answer) if is_equal else _equal_where_real(gold, answer)


def near(gold: Any, answer: Any) -> bool:
    """Whether the numbers of two equal expressions are near each other relative to their size."""
    import sympy

    if isinstance(gold, sympy.Number) and gold == answer:
        return True
    if isinstance(gold, sympy.Tuple | sympy.FiniteSet) and isinstance(answer, sympy.Tuple | sympy.FiniteSet):
        return _near_parts(gold, answer)
    if isinstance(gold, sympy.Interval) and isinstance(answer, sympy.Interval):
        return near(gold.start, answer.start) and near(gold.end, answer.end)
    gold, answer = _right_side(gold), _right_side(answer)
    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return True
    symbols = gold.free_symbols | answer.free_symbols
    if symbols:
        if not (gold.has(sympy.Float) or answer.has(sympy.Float) or gold.has(sympy.Pow)):
            return True
        values = dict(zip(sorted(symbols, key=str), _points(len(symbols)), strict=True))
        gold, answer = gold.subs(values), answer.subs(values)
    return any(_near_numbers(gold * factor, answer * other) for factor, other in ((1, 1), (100, 1), (1, 100)))


def _near_parts(gold: Any, answer: Any) -> bool:
    """Compare sets and tuples, whose parts math-verify has paired in some order: each has its like."""
    if len(gold.args) != len(answer.args):
        return True
    return all(any(near(first, other) for other in answer.args) for first in gold.args)


def _right_side(expression: Any) -> Any:
    import sympy

    return expression.rhs if isinstance(expression, sympy.Eq) else expression


def _near_numbers(gold: Any, answer: Any) -> bool:
    """Compare two numbers: exactly if both are rational, else relative to the larger."""
    import sympy

    gold, answer = gold.doit(), answer.doit()
    if isinstance(gold, sympy.Rational) and isinstance(answer, sympy.Rational):
        return bool(gold == answer)
    own, other = sympy.N(gold, 20), sympy.N(answer, 20)
    if not (own.is_number and other.is_number and own.is_finite and other.is_finite):
        return True
    size = max(abs(own), abs(other))
    return bool(size == 0 or abs(own - other) <= (_NEAR_IF_SMALL if size < _SMALL else _NEAR) * size)


def _equal_where_real(gold: Any, answer: Any) -> bool:
    """Whether two expressions with roots of variables are real at the same points, and equal there."""
    import sympy

    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return False
    symbols = sorted(gold.free_symbols, key=str)
    if not symbols or gold.free_symbols != answer.free_symbols or not (_has_root(gold) or _has_root(answer)):
        return False
    real = 0
    for start in range(len(_POINTS)):
        values = dict(zip(symbols, _points(len(symbols), start), strict=True))
        own, other = (sympy.N(side.subs(values), 20) for side in (gold, answer))
        if not (own.is_number and other.is_number) or bool(own.is_real) != bool(other.is_real):
            return False
        if own.is_real:
            real += 1
            if abs(own - other) > 1e-12 * max(abs(own), abs(other)):
                return False
    return real >= 2


def _has_root(expression: Any) -> bool:
    import sympy

    return any(power.exp.is_Rational and not power.exp.is_Integer for power in expression.atoms(sympy.Pow))


def _points(count: int, start: int = 0) -> list[float]:
    return [_POINTS[(start + index) % len(_POINTS)] for index in range(count)]
