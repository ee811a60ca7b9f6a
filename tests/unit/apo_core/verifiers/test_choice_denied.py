"""Letters that a text denies, supposes or names together with others, and those that it keeps."""

from pathlib import Path

import pytest
from builders import assert_linear

from apo_core.verifiers import make_verifier


def letter(completion, rule="last"):
    return make_verifier("choice", (rule,), Path()).score(completion, "B", {}).extracted


@pytest.mark.parametrize(
    "completion",
    [
        "B错误",
        "B选项错误",
        "B是错误的",
        "B选项说法有误",
        "B不正确",
        "B项不符合题意",
        "排除B",
        "排除了A、B",
        "A、B均错误",
        "Bではない",
        "We can rule out B.",
        "We can rule out options A and B.",
        "I have eliminated A, B.",
        "none of A, B",
        "Option B is eliminated.",
        "B can be ruled out",
        "B does not satisfy the condition.",
        "B doesn't fit",
        "B fails the test",
        "B contradicts the passage",
        "B is too small",
        "A and B are wrong",
        "If B is right",
        "Although B is correct in general",
    ],
)
def test_a_letter_that_is_denied_is_not_read(completion):
    assert letter(completion) is None
    assert letter(f"{completion}\nC") == "C"


@pytest.mark.parametrize(
    "completion",
    [
        "Both A and B are correct.",
        "A and B are both correct",
        "A和B都正确",
        "The correct answers are A and B.",
        r"\boxed{A, B}",
        "It lies between A and B",
        "A, B or C",
        "Options (A) and (B)",
    ],
)
def test_several_letters_are_no_choice(completion):
    assert letter(completion) is None
    assert letter(f"{completion}\nSo the answer is B") == "B"


@pytest.mark.parametrize(
    "completion",
    [
        "【答案】B\n【解析】A、C、D错误",
        "【答案】B。解析：A项错误。",
        "A、C、D错误，B正确",
        "A错B对",
        "选B不选A",
        "因此答案选B，A不对",
        "B选项符合题意，A、C、D不符合题意",
        "排除A、C、D，选B",
        "答案：B 不变",
        "B不错，选B",
        "B is not wrong",
        "B has no flaws",
        "While option A is correct in general, the best answer here is B.",
        "Although A is correct, B is better.",
        "B is right while A is correct only in part",
        "The best answer in this case is B",
        "Eliminating A leaves B",
        "I ruled out A, C and D, leaving B",
        "Since A, C, and D are ruled out, B",
        "A and C are wrong, B is right",
        "The answer is B, and A cannot be right",
        "Between B and D, B fits better.",
        "So it's B: A is too small",
        "B, as A and C are false",
        "B. A and C",
        "(B) both A and C",
    ],
)
def test_other_letters_do_not_hide_the_choice(completion):
    assert letter(completion) == "B"


@pytest.mark.parametrize(
    "completion",
    [
        "Only A is consistent with the data.",
        "A satisfies the condition.",
        "A best describes it.",
        "Of the four options, A best fits.",
        "A can be inferred from the passage.",
        "A must be true",
        "B, C and D are wrong; A satisfies it.",
        "B is close, but A is better.",
    ],
)
def test_a_before_a_verb_is_a_letter(completion):
    assert letter(completion) == "A"


@pytest.mark.parametrize(
    "completion",
    [
        "A glass of water",
        "A can of beans",
        "A best friend",
        "A clearly obvious one",
        "I can see it",
        "I must say",
    ],
)
def test_words_are_no_letters(completion):
    assert letter(completion) is None


@pytest.mark.parametrize("gold", ["B. A and C", "B) A or C", "B. A, C and D", "(B) both A and C"])
def test_the_text_of_an_option_may_name_others(gold):
    assert make_verifier("choice", ("last",), Path()).answer_problem(gold, {}) is None
    assert make_verifier("choice", ("last",), Path()).score("B", gold, {}).reward == 1.0
    assert letter(gold, "last") == "B"


@pytest.mark.parametrize(
    "gold", ["C++", "C#", "A+", "A-", "E = mc^2", "A.M.", "A: 5, B: 6", "A) x\nB) y", "B错误"]
)
def test_a_gold_that_is_no_label_is_refused(gold):
    assert make_verifier("choice", ("last",), Path()).answer_problem(gold, {})


@pytest.mark.parametrize(
    "unit",
    [
        "A and ",
        "A, ",
        "A、",
        "rule out A ",
        "A is not ",
        "A 错 ",
        "while A ",
        "A are ",
        "A.M.",
        "】",
        "答案】",
        "A does ",
    ],
)
def test_repeated_denials_take_linear_time(unit):
    for completion in ("{}", "none of {}", "{}B"):
        assert_linear(
            lambda size, form=completion: letter(form.format(unit * (size // len(unit)))), size=8_000
        )
