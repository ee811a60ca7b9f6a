"""What math-verify by itself misjudges. A test that fails here says that a wrapper of ours can go."""

import pytest

math_verify = pytest.importorskip("math_verify")


def equal(gold, answer):
    parsed = [math_verify.parse(f"${text}$", parsing_timeout=None) for text in (gold, answer)]
    return math_verify.verify(*(part[0] for part in parsed), timeout_seconds=None, raise_on_error=True)


@pytest.mark.parametrize(
    ("gold", "answer", "wrapper"),
    [
        (r"1.6 \times 10^{-19}", r"9.1 \times 10^{-31}", "math_compare.near"),
        (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}", "math_compare.near"),
        ("2516_8", "2516_9", "math_numerals.bases"),
        ("6:30", "1:5", "math_numerals.times"),
        ("2:3:4", "1:6", "math_numerals.ratios"),
        ("10-12", "-2", "math_numerals.ranges"),
        ("no", "on", "math_literal._words"),
        ("3x^2", "3x^2h", "math_forms._targets"),
        ("A^T", "A", "math_literal.loses_transpose"),
        (r"\angle BAC", r"\angle ABC", "math_literal._angles"),
        (r"\frac{dy}{dx}", r"\frac{dx}{dy}", "math_literal._written"),
        ("y'", "y", "math_literal._marks, derivative"),
        (r"1,2,\ldots,10", "1,2,10", "math_literal._marks"),
        (r"f(x)=0", r"\forall x>0, f(x)=0", "math_literal._marks"),
        (r"x \equiv 3 \pmod{7}", r"x \equiv 3 \pmod{5}", "math_literal._marks"),
    ],
)
def test_different_answers_are_still_equal_to_math_verify(gold, answer, wrapper):
    assert equal(gold, answer), f"mended upstream: {wrapper} can go"


@pytest.mark.parametrize(
    ("gold", "answer", "wrapper"),
    [
        (r"[2,\infty)", r"x\geq 2", "allow_set_relation_comp in math_compare.equal"),
        (r"\sqrt{1/n}", r"\frac{1}{\sqrt{n}}", "math_compare._equal_where_real"),
        (r"\emptyset", r"\varnothing", "math_text._SAME"),
        ("10^{22}", "1e22", "math_text._SCIENTIFIC"),
        (r"\frac{1}{3}", r"0.\overline{3}", "math_text._REPEATING"),
        (r"\frac{5}{4}", "1 1/4", "math_text._MIXED"),
        ("12.5", r"12.5\%", "math_forms.percent_equal"),
        ("[2,5)", r"\{x\mid 2\le x<5\}", "math_forms.regions_equal"),
        (r"\frac{1+\sqrt2}{3}, \frac{1-\sqrt2}{3}", r"\frac{1\pm\sqrt2}{3}", "math_forms.both_signs_equal"),
        ("5", r"5 km/h", "math_units.without_unit"),
        ("18", "€18", "math_text._CURRENCY"),
        (r"\frac{\pi}{3}", r"60^\circ", "math_forms.degrees_equal"),
        ("True", "true", "math_literal._words"),
    ],
)
def test_equal_answers_still_differ_to_math_verify(gold, answer, wrapper):
    assert not equal(gold, answer), f"mended upstream: {wrapper} can go"


def test_a_quotient_by_zero_still_cannot_be_compared():
    with pytest.raises(ValueError, match="nan or zoo"):
        equal("12:00", "1:00")
