from pathlib import Path

import pytest

from apo_core.verifiers import make_verifier
from apo_core.verifiers.math_words import is_unit, scaled, worded

MATH = make_verifier("math", ("boxed", "last"), Path())


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("5:30 AM", "5:30 PM"),
        ("5:30\\text{ a.m.}", "5:30\\text{ p.m.}"),
        ("5\\text{ a.m.}", "5\\text{ p.m.}"),
        ("5 AM", "5 PM"),
        ("5 million", "5"),
        ("5\\text{ thousand}", "5"),
        ("5 dozen", "5"),
        ("5\\text{ squared}", "5"),
        ("5 \\text{ factorial}", "5"),
        ("1200 BC", "1200 AD"),
        ("5 north", "5 south"),
        ("5\\text{ January}", "5\\text{ June}"),
        ("5 June", "5"),
        ("5\\text{ ft }6\\text{ in}", "5\\text{ ft }7\\text{ in}"),
        ("5\\text{ ft }6\\text{ in}", "5"),
        ("5\\text{ hours and }30\\text{ minutes}", "5"),
        ("3\\text{ apples and }4\\text{ oranges}", "3"),
        ("5\\text{ or more}", "5"),
        ("5 or more", "5"),
        ("5 ft 6 in", "5"),
        ("5 ft 6 in", "6"),
        ("5\\text{ h }30\\text{ min}", "5"),
        ("June 5", "5"),
        ("June 5", "June 6"),
        ("5\\text{i}", "5"),
        ("5\\mathrm{i}", "5"),
        ("2 thirds", "2"),
        ("5 squared", "5"),
        ("5 factorial", "5"),
        ("3\\text{ apples, }4\\text{ pears}", "3"),
        ("5\\text{ million}", "5\\text{ billion}"),
        ("5 Million", "5"),
        ("5 HUNDRED", "5"),
        ("5\\text{ PM}", "5"),
        ("5\\text{ base }2", "5"),
        ("5\\text{ ft }6", "5"),
        ("AD 1200", "1200 BC"),
        ("5 km north", "5 km south"),
        ("5\\text{ at least}", "5"),
        ("2 hours 30 minutes", "2"),
        ("\\text{5 million}", "5"),
        ("\\text{5 ft 6 in}", "5"),
        ("5 feet and 6 inches", "5"),
        ("5\\text{ Mon}", "5\\text{ Tue}"),
        ("5 degrees below zero", "5"),
        ("3x, 4x", "3,4"),
    ],
)
def test_words_that_are_no_unit_are_not_dropped(answer, gold):
    assert MATH.score(rf"\boxed{{{answer}}}", gold, {}).reward == 0.0


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("5 million", "5000000"),
        ("\\$5\\text{ million}", "5000000"),
        ("5\\text{ dozen}", "60"),
        ("\\$5 million", "5{,}000{,}000"),
        ("2.5 million", "2500000"),
        ("5 million dollars", "5000000"),
        ("5\\text{ million people}", "5 million"),
        ("5\\text{ hundred thousand}", "500000"),
        ("5\\text{ ft }6\\text{ in}", "5 ft 6 in"),
        ("5:30 AM", "5:30\\text{ a.m.}"),
        ("5 PM", "5\\text{ p.m.}"),
        ("1200 BC", "1200\\text{ BC}"),
        ("5 June", "5\\text{ June}"),
        ("5 feet squared", "5"),
        ("3\\text{ cm}, 4\\text{ cm}", "3,4"),
        ("5\\text{ or more}", "5 or more"),
        ("\\frac{1}{2}\\text{ million}", "500000"),
        ("5 apples left", "5"),
        ("5\\text{ quarters}", "5"),
        ("1,500 thousand", "1500000"),
        ("3\\text{ and }5", "3,5"),
        ("3\\text{ or }5", "3,5"),
        ("45\\text{ percent}", "45\\%"),
        ("5\\text{ days}", "5"),
        ("5\\text{ m2}", "5"),
        ("5\\text{ m}^2", "5"),
        ("5\\text{ m/s}^2", "5"),
        ("12 noon", "12 noon"),
        ("5 dozen eggs", "60 eggs"),
        ("5\\text{ years and 3 months}", "5 years and 3 months"),
        ("3 cm and 4 cm", "3,4"),
        ("5 hundredths", "5 hundredths"),
        ("5.0 million", "5000000"),
        ("5\\text{ million}", "5\\times 10^6"),
        ("4i+3", "3+4i"),
        ("3 cm and 4 cm", "3,4"),
        ("2a, 3b", "3b, 2a"),
        ("3x, 4x", "4x, 3x"),
        ("5 x", "5x"),
    ],
)
def test_the_same_words_in_another_notation(answer, gold):
    assert MATH.answer_problem(gold, {}) is None
    assert MATH.score(rf"\boxed{{{answer}}}", gold, {}).reward == 1.0


@pytest.mark.parametrize(
    ("text", "gold", "reward"),
    [
        ("It is 5 million.", "5", 0.0),
        ("It is 5 million.", "5000000", 1.0),
        ("at 5:30 PM", "5:30 AM", 0.0),
        ("at 5:30 AM", "5:30 AM", 1.0),
    ],
)
def test_prose_keeps_the_words_too(text, gold, reward):
    assert MATH.score(text, gold, {}).reward == reward


def test_units_and_other_words():
    assert is_unit("square meters") and is_unit("m/s^2") and is_unit("m2") and is_unit("feet squared")
    assert not any(map(is_unit, ("squared", "or more", "june", "in base 2", "km north")))
    assert scaled("2.5", "million dollars") == ("2500000", "dollars")
    assert worded("5 ft 6 in") == ["5", "ft", "6", "in"]
    assert worded("5 cm") is None and worded("4i + 3") is None and worded("2pm") is None
