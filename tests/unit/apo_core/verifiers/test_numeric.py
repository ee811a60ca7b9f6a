import time
from pathlib import Path

import pytest

from apo_core.verifiers import make_verifier


def verifier(name="numeric", rules=("last",)):
    return make_verifier(name, rules, Path())


@pytest.mark.parametrize(
    ("name", "rules", "gold", "completion", "reward"),
    [
        ("numeric", ("last",), "-5", "It is \u22125", 1.0),
        ("numeric", ("last",), "-5", "It is \u20135", 1.0),
        ("numeric", ("last",), "1000", "1 000", 1.0),
        ("numeric", ("last",), "1000", "1{,}000", 1.0),
        ("numeric", ("boxed",), "-18", "\\boxed{\u221218}", 1.0),
        ("numeric", ("boxed",), "1800", r"\boxed{1{,}800}", 1.0),
        ("numeric", ("boxed",), "18", r"\boxed{18\text{ m}^2}", 1.0),
        ("numeric", ("last",), "16", "Answer: 16 m^2", 1.0),
        ("numeric", ("boxed",), "0.5", r"\boxed{\frac{1}{2}}", 1.0),
        ("numeric", ("boxed",), "2", r"\boxed{\frac{1}{2}}", 0.0),
        ("numeric", ("boxed",), "2", r"\boxed{1/2}", 0.0),
        ("numeric", ("boxed",), "5", r"\boxed{10^5}", 0.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### Final Answer\n18", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### Answer:\n\n**18**", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### 3. Conclusion\nThe answer is 18.", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### 18\n\n#### Explanation\nBecause 9*2", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### 18 ####", 1.0),
        ("numeric", ("last",), "-5", "It is \u20115", 1.0),
        ("numeric", ("last",), "-5", "It is ﹣5", 1.0),
        ("numeric", ("last",), "-5", "x = - 5", 1.0),
        ("numeric", ("last",), "-5", r"$x = -\$5$", 1.0),
        ("numeric", ("last",), "-5", "It is -€5", 1.0),
        ("numeric", ("last",), "5", "It is -€5", 0.0),
        ("numeric", ("last",), "-5", "minus 5", 1.0),
        ("numeric", ("last",), "2", "7 minus 2", 1.0),
        ("numeric", ("last",), "-5", "negative 5", 1.0),
        ("numeric", ("last",), "5", "Result:\n- 5 apples", 1.0),
        ("numeric", ("last",), "19", "COVID-19", 1.0),
        ("numeric", ("last",), "1000", "1\u202f000", 1.0),
        ("numeric", ("last",), "1000", "1\u2009000", 1.0),
        ("numeric", ("last",), "1000", "1\xa0000", 1.0),
        ("numeric", ("last",), "1000", "1'000", 1.0),
        ("numeric", ("last",), "1000", r"1\,000", 1.0),
        ("numeric", ("last",), "1000", r"1,\!000", 1.0),
        ("numeric", ("last",), "1000000", "1 000 000", 1.0),
        ("numeric", ("last",), "1234567", "12,34,567", 1.0),
        ("numeric", ("last",), "1234567", "1.234.567", 1.0),
        ("numeric", ("last",), "1234567.5", "1,234,567.5", 1.0),
        ("numeric", ("last",), "100", "$100 / $200", 0.0),
        ("numeric", ("last",), "18", "18€", 1.0),
        ("numeric", ("last",), "18", "18 %", 1.0),
        ("numeric", ("last",), "18", r"18\%", 1.0),
        ("numeric", ("last",), "500", "USD500", 1.0),
        ("numeric", ("last",), "18", "18 cm³", 1.0),
        ("numeric", ("last",), "18", "18 m/s^2", 1.0),
        ("numeric", ("last",), "18", "18 kg·m^{2}", 1.0),
        ("numeric", ("last",), "18", "18m2", 1.0),
        ("numeric", ("last",), "18", r"18\,\text{cm}^{3}", 1.0),
        ("numeric", ("last",), "2", "H2O", 0.0),
        ("numeric", ("last",), "1", "x_1", 0.0),
        ("numeric", ("last",), "0.75", "3/4", 1.0),
        ("numeric", ("last",), "1.75", "1 3/4", 1.0),
        ("numeric", ("last",), "1.75", r"1\frac{3}{4}", 1.0),
        ("numeric", ("last",), "1.75", "1¾", 1.0),
        ("numeric", ("last",), "-0.5", r"-\frac12", 1.0),
        ("numeric", ("last",), "4", "3/4", 0.0),
        ("numeric", ("last",), "30", "10:30", 0.0),
        ("numeric", ("last",), "3", r"2\sqrt{3}", 0.0),
        ("numeric", ("last",), "2", r"\frac{\sqrt{3}}{2}", 0.0),
        ("numeric", ("last",), "2", "1011_2", 0.0),
        ("numeric", ("last",), "1500", r"1.5 \times 10^3", 1.0),
        ("numeric", ("last",), "0.0015", "1.5·10^{-3}", 1.0),
        ("numeric", ("last",), "1024", "2^{10}", 1.0),
        ("numeric", ("last",), "3", "0.333...", 0.0),
        ("numeric", ("last",), "2020", "1/2/2020", 0.0),
        ("numeric", ("last",), "2", "5 ± 2", 0.0),
        ("numeric", ("last",), "18", "**18**", 1.0),
        ("numeric", ("last",), "18", "18!", 1.0),
        ("numeric", ("last",), "7", "\uff11\uff12 - 5 = 7", 1.0),
        ("numeric", ("last",), "3", "٣", 1.0),
        ("numeric", ("boxed",), "5", r"\boxed{5, 7}", 0.0),
        ("numeric", ("boxed",), "7", r"\boxed{5} or \boxed{7}", 0.0),
        ("numeric", ("boxed",), "7", r"\boxed{3 + 4 = 7}", 1.0),
        ("numeric", ("boxed",), "7", r"\boxed{7}, so \boxed{7}", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### Step 2: add\nIt is 18", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### 2) Adding up\nSo 18.", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### Part 3\n18", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### Solution\n#### 18", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### $18", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### 9*2=18", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### 18 dollars\nDone in 3 steps.", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "18 ####", 0.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### Total: 18", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### Cost of 3 days\n6*3=18", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### Total is 18\nin 3 steps", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "##### Heading 2\n18", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### **18**\n", 1.0),
        ("gsm8k", ("hashes", "last"), "#### 18", "#### The result\n\n#### Check\n9*2 = 18", 1.0),
    ],
)
def test_numbers_are_read_as_people_write_them(name, rules, gold, completion, reward):
    rule = verifier(name, rules)
    assert rule.answer_problem(gold, {}) is None
    assert rule.score(completion, gold, {}).reward == reward


@pytest.mark.parametrize(
    ("gold", "completion", "rewards"),
    [
        ("3/4", "The answer is 4", (0.0,)),
        ("3/4", "The answer is 0.75", (1.0,)),
        (r"\frac{1}{2}", "So 2", (0.0,)),
        ("5 m^2", "It is 2", (0.0,)),
        ("10^6", "6", (0.0,)),
        ("10:30", "It is 11:30", (0.0,)),
        ("(2, 5)", "5", (0.0,)),
        ("x=1 or x=2", "2", (0.0,)),
        (r"2\sqrt{3}", "3", (0.0,)),
        ("1.5 x 10^3", "3", (0.0,)),
        ("10 000", "It is 0", (0.0,)),
        ("3,5", "It is 5", (0.0,)),
        ("2-3", "3", (0.0,)),
        ("5 apples and 3 pears", "3", (0.0,)),
        ("-$5", "It is 5", (0.0,)),
        ("\u22125", "It is 5", (0.0,)),
    ],
)
def test_a_gold_is_one_number_or_refused(gold, completion, rewards):
    rule = verifier()
    assert rule.answer_problem(gold, {}) or rule.score(completion, gold, {}).reward in rewards


@pytest.mark.parametrize(
    "gold",
    [
        "42",
        "5 dollars",
        "$5",
        "-$5",
        "5%",
        "x = 5",
        "5 m²",
        "9.8 m·s^-2",
        r"5\text{ cm}^2",
        "5-year-old",
        "1st",
        "90°",
        "1e-05",
        "6.02e23",
        r"\boxed{5}",
        "5 (five)",
    ],
)
def test_a_gold_may_have_a_unit_or_a_currency(gold):
    assert verifier().answer_problem(gold, {}) is None
    assert verifier().score(gold, gold, {}).reward == 1.0


@pytest.mark.parametrize(
    "gold",
    [
        "x>5",
        "≥5",
        "5x",
        "n-1",
        "x+3",
        "5!",
        "5π",
        "±5",
        "0.333...",
        "1.234,56",
        "2024-05-01",
        "3-4",
        "5 ft 3 in",
        "0x1F",
        "5 or 6",
        "1, 2, 3",
        "7±1",
        "1011_2",
        r"\log_2 8",
    ],
)
def test_a_gold_that_is_not_one_plain_number_is_refused_with_the_verifier_that_takes_it(gold):
    assert "try verifier.name: math" in verifier().answer_problem(gold, {})


def test_a_refused_gold_names_its_reading():
    assert verifier().answer_problem("(2, 5)", {}) == (
        '"(2, 5)" holds 2 numbers (2, 5); try verifier.name: math, which compares expressions'
    )
    assert verifier().answer_problem("10:30", {}) == (
        '"10:30" is not one plain number; try verifier.name: math, which compares expressions, '
        "or exact, which compares text"
    )
    assert verifier("gsm8k").answer_problem("18", {}) == (
        "has no ####; try verifier.name: numeric, which compares plain numbers"
    )
    assert verifier("gsm8k").answer_problem("#### 18 or 19", {}).startswith('"18 or 19" holds 2 numbers')


def test_a_whole_solution_of_gsm8k_is_a_gold_of_numeric_too():
    gold = "2 + 3 = <<2+3=5>>5\n#### 5"
    assert verifier().answer_problem(gold, {}) is None
    assert verifier().score("It is 5", gold, {}).reward == 1.0


def test_a_verdict_says_what_is_no_plain_number():
    assert verifier().score("at 10:30", "30", {}).reason == '"10:30" is no plain number'
    assert (
        verifier(rules=("boxed",)).score(r"\boxed{5, 7}", "5", {}).reason == '"5, 7" holds 2 numbers, not one'
    )


@pytest.mark.parametrize(
    "number",
    [
        "99999^{999}",
        "123456^999",
        "1/3e9999",
        r"\frac{1e9999}{2}",
        r"3\frac{1}{1e-9999}",
        "1e9999/3",
        "1e5^{999}",
        "1e9999^{999}",
        "9e9999**(-999)",
    ],
)
def test_a_number_of_very_many_digits_is_not_written_out(number):
    started = time.process_time()
    verdict = verifier(rules=("boxed",)).score(rf"\boxed{{{number}}}", "5", {})
    assert (verdict.reward, verdict.reason) == (0.0, f'"{number}" is no plain number')
    assert "is not one plain number" in verifier().answer_problem(number, {})
    assert time.process_time() - started < 10  # minutes if it were written out


def test_high_powers_that_can_be_written_out_have_a_value():
    assert verifier(rules=("boxed",)).score(r"\boxed{2^{999}}", str(2**99), {}).reward == 0.0
    assert verifier(rules=("boxed",)).score(r"\boxed{10^{300}}", "1e300", {}).reward == 1.0
    assert verifier().score("-" + "1" * 40, "-" + "1" * 39 + "2", {}).reward == 0.0


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("3+4", "4"),
        ("3-4", "4"),
        ("3\\times4", "4"),
        ("2^3 \\cdot 3", "3"),
        ("3x", "3"),
        ("x > 3", "3"),
        ("3!", "3"),
        ("(3,4)", "4"),
        ("3\\text{ or }4", "4"),
        ("5\\text{ h }30\\text{ min}", "30"),
        ("3{,}14", "14"),
        ("3,14", "14"),
        ("3,5", "5"),
        ("1,23", "123"),
        ("x=3y", "3"),
        ("x=1, y=2", "2"),
        ("3n+1", "1"),
        ("\\pm 3", "3"),
        ("x \\ne 3", "3"),
        ("[3,4]", "4"),
        ("3:4", "4"),
        ("5 to 7", "7"),
        ("x \\in (0, 3)", "3"),
        ("\\ge 3", "3"),
        ("n-1", "1"),
        ("3+4=", "4"),
        ("x=1\\text{ or }x=2", "2"),
    ],
)
def test_digits_of_an_expression_in_a_mark_are_not_read(answer, gold):
    assert verifier(rules=("boxed",)).score(rf"\boxed{{{answer}}}", gold, {}).reward == 0.0
    assert verifier(rules=("tag",)).score(f"<answer>{answer}</answer>", gold, {}).reward == 0.0


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("3", "3"),
        ("x = 3", "3"),
        ("3 + 4 = 7", "7"),
        ("\\text{The total is } 18", "18"),
        ("18 dollars", "18"),
        ("18\\text{ m}^2", "18"),
        ("\\$18", "18"),
        ("50\\%", "50"),
        ("1{,}000", "1000"),
        ("x=y=3", "3"),
        ("2 \\times 3 = 6\\text{ cm}", "6"),
        ("\\text{Answer: }18", "18"),
        ("18.", "18"),
        ("Answer: 18", "18"),
        ("-5", "-5"),
        ("\\frac{1}{2}", "0.5"),
        ("3 \\approx 3", "3"),
        ("\\approx 3.14", "3.14"),
        ("90^\\circ", "90"),
        ("5\\ \\text{apples}", "5"),
        ("7, 7", "7"),
        ("**18**", "18"),
        ("f(x)=3", "3"),
        ("x_1 = 3", "3"),
        ("\\text{Total} = 3", "3"),
        ("3 \\text{ (three)}", "3"),
        ("\\mathbf{18}", "18"),
        ("P = \\frac{1}{2}", "0.5"),
        ("18 apples in total", "18"),
        ("\n18\n", "18"),
        ("18 km/h", "18"),
        ("\\displaystyle 18", "18"),
        ("18\\,\\text{km/h}", "18"),
        ("\\underline{18}", "18"),
        ("{18}", "18"),
        ("$18$", "18"),
        ("a_{10} = 3", "3"),
        ("2+2 = 4", "4"),
        ("(18)", "18"),
        ("12 hours = 720 minutes", "720"),
        ("1{,}800\\text{ calories}", "1800"),
    ],
)
def test_a_mark_holds_one_number_or_ends_with_its_value(answer, gold):
    assert verifier(rules=("boxed",)).score(rf"\boxed{{{answer}}}", gold, {}).reward == 1.0
    assert verifier(rules=("tag",)).score(f"<answer>{answer}</answer>", gold, {}).reward == 1.0


def test_a_decimal_comma_is_refused():
    assert verifier().score("It is 3,14.", "14", {}).reason == '"3,14" is no plain number'
    assert "is not one plain number" in verifier().answer_problem("3,14", {})
    assert verifier().score("It is one of 3,4,5", "5", {}).reward == 1.0
