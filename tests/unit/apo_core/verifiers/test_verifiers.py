from pathlib import Path

import pytest
from builders import assert_linear
from hypothesis import given
from hypothesis import strategies as st

from apo_core.verifiers import Verdict, make_verifier

RULES = {
    "numeric": ("last",),
    "gsm8k": ("hashes", "last"),
    "math": ("boxed", "last"),
    "choice": ("boxed", "last"),
    "exact": ("whole",),
}


def verifier(name, *rules):
    return make_verifier(name, rules or RULES[name], Path())


def verdict(name, completion, answer, *rules):
    return verifier(name, *rules).score(completion, answer, {})


def reward(name, completion, answer):
    return verdict(name, completion, answer).reward


def read(name, completion):
    return verdict(name, completion, "#### 0").extracted


@pytest.mark.parametrize(
    ("completion", "extracted"),
    [
        ("12", "12"),
        ("first 3, then 4", "4"),
        ("It is 5.", "5"),
        ("5, of course", "5"),
        ("7-5", "5"),  # subtracts
        ("(3)-5", "5"),
        ("7 - 5", "5"),
        ("= -5", "-5"),
        ("x=-5", "-5"),
        ("(-5)", "-5"),
        ("-5", "-5"),
        ("$-5", "-5"),
        ("7+5=12-3=9#9", "9"),
        ("1-6=-5#-5", "-5"),
        ("1,234", "1234"),
        ("$12,345,678", "12345678"),
        ("2.0", "2.0"),
        ("1,000.50", "1000.50"),
        ("007", "7"),
        ("1e-05", "0.00001"),
        ("2.5E3", "2.5E+3"),
        ("3,4", None),  # a decimal comma, or a list
        ("12,3456", "3456"),
        ("5 eggs", "5"),
        ("no number", None),
        ("", None),
        ("-", None),
    ],
)
def test_the_last_number_is_read(completion, extracted):
    assert read("numeric", completion) == extracted


@pytest.mark.parametrize(
    ("completion", "answer", "expected"),
    [
        ("2.0", "2", 1.0),
        ("1,000", "1000.00", 1.0),
        ("-0", "0", 1.0),
        ("0.1", "0.10", 1.0),
        ("0.1000000000000000055511151231257827", "0.1", 0.0),  # equal as floats, not as decimals
        ("-5", "5", 0.0),
        ("7-5", "-5", 0.0),
        ("3 or 4", "3", 0.0),
        ("nothing", "0", 0.0),
    ],
)
def test_numbers_are_compared_as_exact_decimals(completion, answer, expected):
    assert reward("numeric", completion, answer) == expected


@given(st.integers(-(10**9), 10**9), st.text(alphabet="ab c=.\n", max_size=10))
def test_any_integer_is_read_back_behind_a_space(number, before):
    assert reward("numeric", f"{before} {number}", str(number)) == 1.0
    assert reward("numeric", f"{before} {number:,}", str(number)) == 1.0
    assert reward("numeric", f"{before} {number + 1}", str(number)) == 0.0


def test_a_leading_decimal_point_is_read():
    assert read("numeric", "p = .5") == "0.5"


@pytest.mark.parametrize("name", ["numeric", "gsm8k", "exact", "math"])
@pytest.mark.parametrize("text", ["9" * 10_000, "1," * 5_000, "-" * 10_000, "#### " * 2_000, "(" * 2_000])
def test_a_degenerate_completion_is_wrong_and_fast(name, text):
    assert_linear(lambda size: reward(name, text[: len(text) * size // 4], "#### 5"), size=4)
    assert reward(name, text, "#### 5") == 0.0


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("1 + 4 = 5\n#### 5", 1.0),
        ("#### 4, no: #### 5", 1.0),  # behind the last marker
        ("5 #### 4", 0.0),
        ("#### 5 apples and 3 pears", 1.0),  # the first number behind it
        ("#### 5,4", 0.0),  # a decimal comma, or a list
        ("#### 5e1", 0.0),
        ("5 ####", 0.0),  # nothing behind the marker, whatever stood before it
        ("the answer is 5", 1.0),  # a completion without the marker is read like any other
        ("the answer is 4", 0.0),
    ],
)
def test_gsm8k_reads_behind_the_marker(completion, expected):
    assert reward("gsm8k", completion, "2 + 3 = <<2+3=5>>5\n#### 5") == expected


@pytest.mark.parametrize(
    ("completion", "answer", "expected"),
    [
        ("Paris", "paris", 1.0),
        ("  New \n York\t", "new york", 1.0),
        ("STRASSE", "straße", 1.0),
        ("Paris.", "Paris", 0.0),
        ("in Paris", "Paris", 0.0),
        ("", "Paris", 0.0),
    ],
)
def test_exact_folds_case_and_white_space_only(completion, answer, expected):
    assert reward("exact", completion, answer) == expected


@pytest.mark.parametrize(
    ("completion", "answer", "expected"),
    [
        (r"so \boxed{\frac{1}{2}}", "0.5", 1.0),
        (r"so \boxed{0.5}", r"\frac{1}{2}", 1.0),
        (r"so $\boxed{\frac{1}{3}}$", "0.5", 0.0),
        (r"It is \boxed{3}. No, wait. It is \boxed{4}.", "4", 1.0),
        (r"It is \boxed{4}. No, wait. It is \boxed{3}.", "4", 0.0),
        (r"$\boxed{3}$, so $x = 3$; check again: $\boxed{4}$. Indeed $2 + 2 = 4$.", "4", 1.0),
        (r"$\boxed{4}$, but then $\boxed{3}$", "4", 0.0),
        (r"\boxed{x^2+2x+1}", "$(x+1)^2$", 1.0),
        (r"\boxed{[-2,7]}", "[-2,7]", 1.0),
        (r"\boxed{10080}", "10,080", 1.0),
        ("I do not know", "4", 0.0),
        ("", "4", 0.0),
    ],
)
def test_math_compares_expressions(completion, answer, expected):
    assert reward("math", completion, answer) == expected


# Answers as MATH has them.
@pytest.mark.parametrize(
    "answer",
    [
        r"\frac{\pi}{2}",
        "p - q",
        r"-\frac{35}{9}",
        r"\text{Evelyn}",
        "10,080",
        r"\$32,348",
        r"\$18.90",
        r"2\sqrt{13}",
        r"6 - 5i",
        r"\left( 3, \frac{\pi}{2} \right)",
        r"(-\infty, 2)",
        "1,-2",
    ],
)
def test_a_boxed_bare_latex_answer_is_right(answer):
    assert verifier("math").answer_problem(answer, {}) is None
    assert reward("math", rf"The answer is $\boxed{{{answer}}}$.", answer) == 1.0


@pytest.mark.parametrize(
    "answer", [r"so $\frac12$", r"so \boxed{\frac12}", r"so \(\frac12\)", r"so \[\frac12\]"]
)
def test_an_answer_may_be_a_sentence_with_marked_latex(answer):
    assert reward("math", r"\boxed{0.5}", answer) == 1.0


@pytest.mark.parametrize(("answer", "part"), [(r"2\sqrt{13}", "2"), ("(-\\infty, 2)", "2"), ("2^{10}", "2")])
def test_a_part_of_the_answer_is_wrong(answer, part):
    assert reward("math", rf"\boxed{{{part}}}", answer) == 0.0


@pytest.mark.parametrize(
    ("name", "answer", "problem"),
    [
        ("numeric", "42", None),
        ("numeric", "forty-two", "has no number"),
        ("numeric", "", "has no number"),
        ("numeric", "1" * 101, "has no number"),
        ("gsm8k", "2 + 3\n#### 5", None),
        ("gsm8k", "5", "has no ####"),
        ("gsm8k", "5 ####", "has no number"),
        ("exact", "x", None),
        ("exact", " \n", "is empty"),
        ("math", r"\frac{1}{2}", None),
        ("math", "", "has no expression"),
    ],
)
def test_answers_that_cannot_be_scored_against_are_named(name, answer, problem):
    answer_problem = verifier(name).answer_problem(answer, {})
    assert answer_problem is None if problem is None else answer_problem.startswith(problem)


@pytest.mark.parametrize("name", RULES)
def test_a_verifier_has_a_name_and_a_version_that_its_rules_are_part_of(name):
    assert verifier(name).name == name
    other = ("hashes",) if RULES[name] != ("hashes",) else ("boxed",)
    assert verifier(name).version != verifier(name, *other).version


def test_the_version_of_math_names_its_library():
    assert "math-verify" in verifier("math").version


@pytest.mark.parametrize(
    ("name", "completion", "answer", "rules", "expected"),
    [
        ("numeric", "so 7", "7.0", ["last"], (1.0, "7", "7 equals 7.0")),
        ("numeric", "so 7", "8", ["last"], (0.0, "7", "7 is not 8")),
        ("numeric", "so seven", "8", ["last"], (0.0, None, "no number found")),
        ("numeric", "so 7", "7", ["boxed"], (0.0, None, r"no \boxed{} found")),
        (
            "numeric",
            r"7 \boxed{x}",
            "7",
            ["boxed", "last"],
            (0.0, None, r"no number found at the last \boxed{}"),
        ),
        ("numeric", r"7 \boxed{x = 7} 8", "7", ["boxed"], (1.0, "7", "7 equals 7")),
        ("gsm8k", "7", "#### 7", ["hashes"], (0.0, None, "no #### found")),
        ("gsm8k", "7", "#### 7", ["hashes", "boxed"], (0.0, None, r"no #### or \boxed{} found")),
        ("exact", "<answer>Rome</answer>!", "rome", ["tag"], (1.0, "rome", "rome equals rome")),
        ("exact", "Rome", "rome", ["tag"], (0.0, None, "no <answer></answer> found")),
        ("math", r"$x=1$ or \boxed{\frac12}", "0.5", ["boxed"], (1.0, r"\frac12", r"\frac12 equals 0.5")),
        ("math", "#### x^2 + 1", "1 + x^2", ["hashes"], (1.0, "x^2 + 1", "x^2 + 1 equals 1 + x^2")),
        ("math", "no idea", "4", ["last"], (0.0, None, "no expression found")),
        ("choice", "It is (b).", "B", ["last"], (1.0, "B", "B equals B")),
    ],
)
def test_a_verdict_says_why(name, completion, answer, rules, expected):
    assert verdict(name, completion, answer, *rules) == Verdict(*expected)


def test_a_long_text_is_cut_in_the_reason():
    reason = verdict("exact", "a" * 1000 + "\n", "b\nb").reason
    assert reason == f"{'a' * 57}... is not b b"


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(C)", "C"),
        ("The answer is **D**.", "D"),
        ("The answer is A", "A"),
        ("The answer is A because it is", "A"),
        ("Answer: A because it is", "A"),
        ("It is B. A dog is no cat", "B"),  # a word, not a letter
        ("It is B. I think so", "B"),
        ("not (a) but (j)", "J"),
        (r"so \boxed{\text{E}}", "E"),
        (r"so \boxed{c}", "C"),
        (r"B, so \boxed{}", None),
        ("A or B? B", "B"),
        ("ABC", None),
        ("Don't", None),
        ("K", None),
        ("", None),
    ],
)
def test_the_last_letter_that_stands_alone_is_the_choice(completion, expected):
    assert verdict("choice", completion, "B").extracted == expected


@pytest.mark.parametrize("answer", ["B", "b", "(B)", "B) because C is not", " B. "])
def test_the_answer_to_a_choice_begins_with_its_letter(answer):
    assert verifier("choice").answer_problem(answer, {}) is None
    assert reward("choice", "B", answer) == 1.0
    assert reward("choice", "C", answer) == 0.0


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (r"1\,234", "1234"),
        (r"1{,}234", "1234"),
        (r"1,\!234", "1234"),
        (r"\text{27}", "27"),
        (r"\textbf{27.0}", "27"),
        (r"\textbf{(A) }\ 27", "27"),
        ("27.", "27"),
        (r"27\text{ miles.}", "27"),
    ],
)
def test_math_reads_what_math_verify_alone_does_not(written, number):
    assert reward("math", rf"\boxed{{{written}}}", number) == 1.0


@given(st.text(max_size=60), st.sampled_from(sorted(RULES)))
def test_any_text_is_scored_with_a_reason(text, name):
    if name != "math":
        scored = verdict(name, text, "#### 5")
        assert scored.reward in (0.0, 1.0)
        assert scored.reason
