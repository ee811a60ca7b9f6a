from pathlib import Path

import pytest

from apo_core.verifiers import make_verifier

MATH = make_verifier("math", ("boxed", "last"), Path())


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("5", "5 cm"),
        ("5", "5 kg"),
        ("5", "5 mph"),
        ("5", "5 ft"),
        ("5", "5 oz"),
        ("5", "5 hrs"),
        ("5", "5 m/s"),
        ("5", "5 km/h"),
        ("5", "5 kN"),
        ("5", "5 MeV"),
        ("5", "5 kPa"),
        ("5", "5 GHz"),
        ("5", "5 mL"),
        ("5", "5 in."),
        ("5", "5 cm^2"),
        ("5", "5 kg\\cdot m"),
        ("5", "5 m/s"),
        ("5", "5 units"),
        ("5", "5 degrees"),
        ("5", "5 km^2"),
        ("5", "5 sq.cm"),
        ("5", "5 m"),
        ("5", "5 L"),
        ("5", "5 N"),
        ("18", "\\text{Area} = 18\\text{ cm}^2"),
        ("18", "x = 18 dollars"),
        ("18", "v = 18 m/s"),
        ("18", "\\text{Total} = 18\\text{ dollars}"),
        ("18", "A = 18\\text{ cm}^2"),
        ("10^{-3}\\,\\Omega", "0.001"),
        ("10^{-3}\\,\\Omega", "10^{-3}"),
        ("10^{-3}\\,\\Omega", "10^{-3}\\ \\Omega"),
        ("0.001", "10^{-3}\\,\\Omega"),
        ("5", "5 apples in a bag"),
        ("\\frac{1}{2}", "\\frac{1}{2} cup"),
        ("2x", "2x\\text{ cm}"),
        ("5", "5\\ \\text{cm}\\cdot\\text{s}"),
        ("5", "5\\mathrm{ cm}\\,\\mathrm{s}^{-1}"),
        ("5", "5\\,\\mathrm{kg\\cdot m^{-3}}"),
        ("5", "5\\;\\frac{\\text{kg}}{\\text{m}^3}"),
        ("18", "18\\ (\\text{cm})"),
        ("2m", "2 m"),
        ("5 g", "5g"),
        ("5 mg", r"5\text{ mg}"),
        ("5", r"5\%\text{ per year}"),
    ],
)
def test_units_are_dropped(gold, answer):
    assert MATH.answer_problem(gold, {}) is None
    assert MATH.score(rf"\boxed{{{answer}}}", gold, {}).reward == 1.0


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("\\frac{1}{2} mv^2", "\\frac12"),
        ("\\frac{1}{2} mv^2", "m"),
        ("\\frac{1}{2} mv^2", "v"),
        ("3", "3yx^2"),
        ("3", "3x"),
        ("2 GM", "2"),
        ("3 CD", "3"),
        ("\\pi rh", "\\pi"),
        ("4st^2", "4"),
        ("\\frac{3}{2} kT", "\\frac32"),
        ("\\frac13mL^2", "\\frac13"),
        ("\\frac12 bh", "\\frac12"),
        ("2xyzw", "2"),
        ("7abcd", "7"),
        ("3h", "3"),
        ("2 AB", "2"),
        ("5 kx", "5"),
        ("2 pq", "2"),
        ("6ab^2c", "6"),
        ("4 RT", "4"),
        ("2 IV", "2"),
        ("18", "x = 19 dollars"),
        ("18", "\\text{Area} = 17\\text{ cm}^2"),
        ("18", "x = 18y"),
        ("10^{-3}\\,\\Omega", "10"),
        ("10^{-3}\\,\\Omega", "10^3"),
        ("2", "2 alpha"),
        ("5", "5 a"),
        ("5", "5 m g"),
        ("6", "5 cm"),
        ("2x", "3x\\text{ cm}"),
    ],
)
def test_variables_are_no_unit(gold, answer):
    assert MATH.answer_problem(gold, {}) is None
    assert MATH.score(rf"\boxed{{{answer}}}", gold, {}).reward == 0.0


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("\\frac{1}{2} mv^2", "\\frac{mv^2}{2}"),
        ("\\frac{1}{2} mv^2", "\\frac{1}{2}mv^2"),
        ("\\frac{1}{2} mv^2", "\\frac12 v^2 m"),
        ("\\frac{mv^2}{2}", "\\frac{1}{2}mv^2"),
        ("3x^2y", "3yx^2"),
        ("-4xy^2z", "-4xzy^2"),
        ("2 GM", "2 GM"),
        ("3 CD", "3 CD"),
        ("\\pi rh", "\\pi rh"),
        ("4st^2", "4st^2"),
        ("\\frac{3}{2} kT", "\\frac{3}{2} kT"),
        ("\\frac13mL^2", "\\frac13mL^2"),
        ("\\frac12 bh", "\\frac12 bh"),
        ("2xyzw", "2xyzw"),
        ("7abcd", "7abcd"),
        ("3h", "3h"),
        ("2 AB", "2 AB"),
        ("5 kx", "5 kx"),
        ("2 pq", "2 pq"),
        ("6ab^2c", "6ab^2c"),
        ("4 RT", "4 RT"),
        ("2 IV", "2 IV"),
    ],
)
def test_variables_stay_in_any_order(gold, answer):
    assert MATH.answer_problem(gold, {}) is None
    assert MATH.score(rf"\boxed{{{answer}}}", gold, {}).reward == 1.0


@pytest.mark.parametrize(
    ("gold", "text", "reward"),
    [
        ("5", r"It is $5 \text{ cm}$.", 1.0),
        ("3", r"so $x = 3 \text{ m/s}$", 1.0),
        (r"\frac12 mv^2", r"so $\frac{1}{2}mv^2$", 1.0),
        ("3", "so $3x^2y$", 0.0),
        ("18", "It costs $5 and then $18 in total.", 1.0),
    ],
)
def test_units_in_pieces_of_latex(gold, text, reward):
    assert MATH.score(text, gold, {}).reward == reward
