"""Words behind a number: what multiplies it, adds to it, or makes it no plain number."""

from pathlib import Path

import pytest
from builders import assert_linear

from apo_core.verifiers import make_verifier


def verifier(rule="last"):
    return make_verifier("numeric", (rule,), Path())


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("5 million", "5000000"),
        ("1.5 million", "1500000"),
        ("$5 billion", "5000000000"),
        ("**$5** thousand", "5000"),
        ("5 hundred million dollars", "500000000"),
        (r"$5$ million", "5000000"),
        (r"5\text{ million dollars}", "5000000"),
        ("3 lakh", "300000"),
        ("$2M", "2000000"),
        ("£2.5k", "2500"),
        ("€3bn", "3000000000"),
        ("18万", "180000"),
        ("1.8 万元", "18000"),
        ("2亿", "200000000"),
        ("5千万", "50000000"),
        ("5만", "50000"),
        ("5 and a half hours", "5.5"),
        ("5 hours and a half", "5.5"),
        ("2 and three quarters", "2.75"),
        ("2 and a half million", "2500000"),
        ("minus 5 million", "-5000000"),
        ("-2 and a half", "-2.5"),
    ],
)
def test_words_of_scale_multiply_and_parts_are_added(written, number):
    assert verifier().score(f"It is {written}.", number, {}).reward == 1.0
    assert verifier("boxed").score(rf"\boxed{{{written}}}", number, {}).reward == 1.0
    assert verifier().answer_problem(written, {}) is None
    assert verifier().score(number, written, {}).reward == 1.0
    digits = "".join(character for character in written if character in "0123456789.").rstrip(".")
    assert verifier().score(f"It is {digits}", written, {}).reward == 0.0
    assert verifier().score(f"It is {written}", digits, {}).reward == 0.0


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("300K", "300"),  # kelvins
        ("5 dozen", "5"),  # the question may be for dozens: GSM8K's is, wherever its answer is so written
        ("852 BC", "852"),
        ("5千克", "5"),
        ("5百分点", "5"),
        ("$5m$", "5"),
        ("$2m^2$", "2"),
        ("5 hundred-dollar bills", "5"),
        ("5 and half of the rest", "5"),
        ("5 millions-wide", "5"),
        ("5 hundredths", "5"),
        ("5 hours", "5"),
        ("5 hours and 0 minutes", "0"),
        ("5 minutes or 3 hours", "3"),
        ("between 2 million and 3 million", "3000000"),
    ],
)
def test_units_are_no_words_of_scale(written, number):
    assert verifier().score(written, number, {}).reward == 1.0


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("18 hours 30 minutes", "30"),
        ("18 hours, 30 minutes and 5 seconds", "5"),
        (r"18\text{ hours }30\text{ minutes}", "30"),
        ("5h30m", "30"),
        ("5 ft 3 in", "3"),
        ("2 pounds and 3 ounces", "3"),
        ("$18 and 50 cents", "50"),
        ("3米5厘米", "5"),
        ("2024年5月3日", "3"),
        ("5 million 300 thousand", "300000"),
        ("1万5千", "5000"),
        ("5" + "千" * 5000, "5"),
        ("1亿2000万", "20000000"),
        ("6 r2", "6"),
        ("6 R 2", "2"),
        ("5 squared", "5"),
        ("5兆", "5"),
        ("2 pi", "2"),
        ("2*pi", "2"),
        ("π/4", "4"),
        ("2i", "2"),
        ("$3+4i$", "4"),
        ("$5!$", "5"),
        ("sqrt 3", "3"),
        ("2*sqrt(3)", "3"),
        ("√(3)", "3"),
        ("∛2", "2"),
        ("√3/2", "2"),
        (r"$\sqrt{3} \cdot 2$", "2"),
        ("log(5)", "5"),
        ("log_2(8)", "8"),
        ("max(3, gcd(12, 18))", "18"),
        ("the square root of 16", "16"),
    ],
)
def test_no_part_of_what_is_no_plain_number_is_read(written, part):
    assert verifier().score(f"It is {written}", part, {}).reward == 0.0
    assert verifier("boxed").score(rf"\boxed{{{written}}}", part, {}).reward == 0.0
    assert "try verifier.name: math" in verifier().answer_problem(written, {})


@pytest.mark.parametrize(
    "text", ["sqrt(16) = 4", "5! = 4", "2^2 is 4", "log(5) is no 4", "18 hours 30 minutes or 4"]
)
def test_a_number_behind_is_read(text):
    assert verifier().score(text, "4", {}).reward == 1.0


@pytest.mark.parametrize(
    "unit",
    [
        "5 million ",
        "5 hours ",
        "5 hours 3 minutes ",
        "1万",
        "sqrt(",
        "log(5",
        "5 and a ",
        "5 pi",
        "1/",
        "√(",
        "5-",
    ],
)
def test_repeated_words_take_linear_time(unit):
    for rule, begin, end in (("last", "", ""), ("boxed", r"\boxed{", "}")):
        assert_linear(
            lambda size, rule=rule, begin=begin, end=end: verifier(rule).score(
                begin + unit * (size // len(unit)) + end, "5", {}
            ),
            size=12_000,
        )
