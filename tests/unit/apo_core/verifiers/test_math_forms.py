from pathlib import Path

import pytest

from apo_core.verifiers import make_verifier

MATH = make_verifier("math", ("boxed", "last"), Path())


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("12.5", "12.5\\%"),
        ("12.5", "12.5 percent"),
        ("12.5", "12.5\\text{ percent}"),
        ("12.5", "12.5%"),
        ("0.125", "12.5\\%"),
        ("62.5", "62.5\\%"),
        ("1.5", "1.5\\%"),
        ("-2.5", "-2.5\\%"),
        ("33\\frac13", "33\\frac13\\%"),
        ("33\\frac13", "\\frac{100}{3}\\%"),
        ("62.5\\%", "62.5"),
        ("62.5\\%", "0.625"),
        ("62.5\\%", "62.5 percent"),
        ("62.5\\%", "\\frac{5}{8}"),
        ("62.5\\%", "\\frac{125}{2}\\%"),
        ("33\\frac13\\%", "33\\frac13"),
        ("33\\frac13\\%", "\\frac13"),
        ("12.5\\%", "12.5\\text{ percent}"),
        ("12.5\\%", "12.50\\%"),
        ("\\frac{25}{2}\\%", "12.5\\%"),
        ("50", "50\\%"),
        ("0.5", "50\\%"),
        ("(-\\infty,-1)\\cup(1,\\infty)", "x<-1 \\text{ or } x>1"),
        ("(-\\infty,-1)\\cup(1,\\infty)", "x<-1 or x>1"),
        ("(-\\infty,-1)\\cup(1,\\infty)", "x>1 \\text{ or } x<-1"),
        ("(-\\infty,-1)\\cup(1,\\infty)", "x<-1 \\cup x>1"),
        ("x<-1 \\text{ or } x>1", "(-\\infty,-1)\\cup(1,\\infty)"),
        ("-2\\le x\\le 3", "3\\ge x\\ge -2"),
        ("-2\\le x\\le 3", "[-2,3]"),
        ("-2\\le x\\le 3", "x\\in[-2,3]"),
        ("[2,5)", "\\{x\\mid 2\\le x<5\\}"),
        ("[2,5)", "\\{x|2\\le x<5\\}"),
        ("[2,5)", "\\{x : 2\\le x<5\\}"),
        ("18", "\\textcolor{blue}{18}"),
        ("18", "\\color{red}{18}"),
        ("18", "\\boldsymbol{18}"),
        ("18", "\\underline{18}"),
        ("18", "\\text{Answer: }18"),
        ("18", "18\\ (\\text{cm})"),
        ("18", "\\color{blue}18"),
        ("18", "{\\color{red}18}"),
        ("18", "\\mathbf{18}"),
        ("18", "\\bf{18}"),
        ("18", "18\\,\\Omega"),
        ("18", "18\\,\\frac{m}{s}"),
        ("18", "\\large 18"),
        ("18", "\\mathbf{\\color{red}{18}}"),
        ("x \\equiv 3 \\pmod{7}", "3 \\pmod 7"),
        ("x \\equiv 3 \\pmod{7}", "x \\equiv 3 \\bmod 7"),
        ("x \\equiv 3 \\pmod{7}", "x \\equiv 3 \\mod 7"),
        ("x \\equiv 3 \\pmod{7}", "3 \\bmod 7"),
        ("x \\equiv 3 \\pmod{7}", "x\\equiv 3\\ (\\text{mod}\\ 7)"),
        ("x \\equiv 3 \\pmod{7}", "x\\equiv 3 \\text{ mod } 7"),
        ("3", "3 \\bmod 7"),
        ("3", "x\\equiv 3 \\mod 7"),
        ("\\sqrt{1+\\sqrt2}", "√(1+√2)"),
        ("\\sqrt{1+\\sqrt2}", "\\sqrt{1+√2}"),
        ("\\sqrt[4]{2}", "∜2"),
        ("∆", "Δ"),
        ("∆", "\\Delta"),
        ("∆", "∆"),
        ("\\Delta", "∆"),
        ("0.\\overline{36}", "0.3636..."),
        ("0.\\overline{36}", "0.\\dot{3}\\dot{6}"),
        ("0.\\overline{36}", "\\frac{4}{11}"),
        ("0.\\overline{36}", "0.363636\\ldots"),
        ("\\frac{-1\\pm\\sqrt5}{2}", "(-1±√5)/2"),
        ("\\frac{-1\\pm\\sqrt5}{2}", "\\frac{-1+\\sqrt5}{2},\\frac{-1-\\sqrt5}{2}"),
        ("\\frac{-1\\pm\\sqrt5}{2}", "\\frac{-1-\\sqrt5}{2},\\frac{-1+\\sqrt5}{2}"),
        ("\\frac{-1\\pm\\sqrt5}{2}", "x=\\frac{-1\\pm\\sqrt5}{2}"),
        ("\\frac{-1+\\sqrt5}{2},\\frac{-1-\\sqrt5}{2}", "\\frac{-1\\pm\\sqrt5}{2}"),
        ("\\pm 2", "2,-2"),
        ("\\pm 2", "±2"),
        ("\\pm 2", "-2,2"),
        ("2,-2", "\\pm 2"),
        ("\\frac{\\sqrt3}{2}", "√3/2"),
        ("\\frac{\\sqrt3}{2}", "\\sqrt{3}/2"),
        ("IV", "IV"),
        ("IV", "\\text{IV}"),
        ("IV", "\\mathrm{IV}"),
        ("TH", "TH"),
        ("\\angle BAC", "\\angle BAC"),
        ("\\frac{dy}{dx}", "\\frac{dy}{dx}"),
        ("\\frac{dy}{dx}", "\\dfrac{dy}{dx}"),
        ("A^T", "A^T"),
        ("A^T", "A^{T}"),
        ("x \\ne 18", "x\\neq 18"),
        ("x \\ne 18", "x \\not= 18"),
        ("9", "9点"),
        ("x \\equiv 3 \\pmod{7}", "x \\equiv 10 \\pmod{7}"),
        ("\\angle BAC", "\\angle CAB"),
        ("e", "2.7182818..."),
        ("(AB)^T", "(AB)^{\\top}"),
    ],
)
def test_the_same_in_another_form(gold, answer):
    assert MATH.answer_problem(gold, {}) is None
    assert MATH.score(rf"\boxed{{{answer}}}", gold, {}).reward == 1.0


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("12.5", "13\\%"),
        ("62.5\\%", "6.25"),
        ("62.5\\%", "6250"),
        ("12.5\\%", "12\\%"),
        ("50", "0.5"),
        ("0.5", "50"),
        ("0.5", "0.5\\%"),
        ("(-\\infty,-1)\\cup(1,\\infty)", "x<-1 \\text{ or } x>2"),
        ("(-\\infty,-1)\\cup(1,\\infty)", "x<-1 and x>1"),
        ("(-\\infty,-1)\\cup(1,\\infty)", "x<1 or x>-1"),
        ("(-\\infty,-1)\\cup(1,\\infty)", "x\\le-1 \\text{ or } x>1"),
        ("x<-1 \\text{ or } x>1", "(-\\infty,-1)"),
        ("x<-1 \\text{ or } x>1", "(1,\\infty)"),
        ("x<-1 \\text{ or } x>1", "(-1,1)"),
        ("-2\\le x\\le 3", "3> x\\ge -2"),
        ("[2,5)", "\\{x\\mid 2\\le x\\le5\\}"),
        ("18", "\\textcolor{blue}{81}"),
        ("18", "\\underline{1}8"),
        ("x \\equiv 3 \\pmod{7}", "3 \\pmod 5"),
        ("x \\equiv 3 \\pmod{7}", "x \\equiv 4 \\mod 7"),
        ("x \\equiv 3 \\pmod{7}", "7"),
        ("3", "4\\mod 7"),
        ("\\sqrt{1+\\sqrt2}", "√(1+√3)"),
        ("\\sqrt[4]{2}", "√2"),
        ("0.\\overline{36}", "0.36"),
        ("0.\\overline{36}", "0.3535..."),
        ("\\frac{-1\\pm\\sqrt5}{2}", "\\frac{-1+\\sqrt5}{2}"),
        ("\\frac{-1\\pm\\sqrt5}{2}", "\\frac{1\\pm\\sqrt5}{2}"),
        ("\\pm 2", "2"),
        ("\\pm 2", "-2"),
        ("IV", "VI"),
        ("TH", "HT"),
        ("\\angle BAC", "\\angle ABC"),
        ("\\frac{dy}{dx}", "\\frac{dx}{dy}"),
        ("A^T", "A"),
        ("A^T", "TA"),
        ("18", "\\ne 18"),
        ("18", "x \\neq 18"),
        ("x \\ne 18", "x=18"),
        ("x \\ne 18", "18"),
        ("x<-1 \\text{ or } x>1", "y<-1 \\text{ or } y>1"),
        ("10", "3 \\pmod 7"),
        ("AB^T", "AB"),
        ("18", r"\text{not: }18"),
        ("18", r"\text{less than: }18"),
    ],
)
def test_another_answer_in_a_like_form(gold, answer):
    assert MATH.score(rf"\boxed{{{answer}}}", gold, {}).reward == 0.0


@pytest.mark.parametrize(
    "gold",
    [
        r"\text{None}",
        r"\text{NaN}",
        r"\boxed{None}",
        "None.",
        "(see solution)",
        r"\boxed{\text{N/A}}",
        "(none)",
    ],
)
def test_names_of_missing_values_in_any_dress_are_refused(gold):
    assert MATH.answer_problem(gold, {})


@pytest.mark.parametrize("gold", [r"\text{None of the above}", r"\text{Na}", "no solution"])
def test_words_that_are_answers_are_accepted(gold):
    assert MATH.answer_problem(gold, {}) is None


def test_brackets_without_end_are_no_expression():
    assert MATH.score(r"\boxed{" + "(" * 200 + "1" + ")" * 200 + "}", "1", {}).extracted is None
