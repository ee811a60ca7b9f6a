"""Golds and boxes: one number, with words that leave it what it is."""

from pathlib import Path

import pytest

from apo_core.verifiers import make_verifier


def verifier(rule="boxed"):
    return make_verifier("numeric", (rule,), Path())


@pytest.mark.parametrize(
    "written",
    [
        "less than 5",
        r"\text{less than }5",
        "at least 5",
        "at most $5",
        "no more than 5",
        "up to 5",
        "not 5",
        "twice 5",
        "half of 5",
        "5 or more",
        "5 apples or fewer",
        r"5\text{ and above}",
        "至少5",
        "5以上",
    ],
)
def test_a_bound_is_not_its_number(written):
    assert verifier().score(rf"\boxed{{{written}}}", "5", {}).reward == 0.0
    assert "try verifier.name: math" in verifier().answer_problem(written, {})
    assert verifier("last").score(f"You need {written}.", "5", {}).reward == 1.0


@pytest.mark.parametrize(
    "gold",
    [
        "about 5",
        "approximately 5",
        "5 or so",
        "约5",
        "5左右",
        "2M",
        "5K",
        "5 dozen",
        r"5\text{ dozen}",
        "1200 BC",
        "1200 B.C.",
        "5 PM",
        "5 p.m.",
    ],
)
def test_a_gold_that_may_mean_another_number_is_refused(gold):
    assert "try verifier.name: math" in verifier().answer_problem(gold, {})


@pytest.mark.parametrize(
    "written",
    [
        r"\textcolor{blue}{18}",
        r"\color{red}{18}",
        r"\color{red} 18",
        r"\colorbox{yellow}{$18$}",
        r"\boldsymbol{18}",
        r"\bm{18}",
        r"\textsf{18}",
        r"18\,\Omega",
        r"18\,k\Omega",
        r"18\,\frac{m}{s}",
        r"18\,\frac{\text{miles}}{\text{hour}}",
        r"18\ \frac{m}{s^2}",
        "**18**",
        "__18__",
        "`18`",
        "18m",
        "18 K",
        "18 km north",
    ],
)
def test_styles_and_units_are_seen_through(written):
    assert verifier().score(rf"\boxed{{{written}}}", "18", {}).reward == 1.0
    assert verifier().answer_problem(written, {}) is None
    assert verifier().score(r"\boxed{18}", written, {}).reward == 1.0


@pytest.mark.parametrize(
    "written", [r"18\frac{a}{b}", r"18\,\frac{x}{y}", r"\textcolor{blue}{18x}", r"18\,\omega"]
)
def test_variables_are_no_units(written):
    assert verifier().score(rf"\boxed{{{written}}}", "18", {}).reward == 0.0
    assert "try verifier.name: math" in verifier().answer_problem(written, {})
