from pathlib import Path

import pytest
from builders import assert_linear

from apo_core.verifiers import make_verifier


def verifier(rules=("last",)):
    return make_verifier("choice", rules, Path())


@pytest.mark.parametrize(
    ("rules", "gold", "completion", "reward"),
    [
        (("last",), "A", "Therefore, option A is correct.", 1.0),
        (("last",), "A", "A is the correct answer.", 1.0),
        (("last",), "A", "Answer A is correct", 1.0),
        (("last",), "A", "I choose A since B is wrong", 1.0),
        (("last",), "B", "\u56e0\u4e3a H2O \u662f\u6c34\uff0c\u6240\u4ee5\u9009B\u3002", 1.0),
        (("last",), "B", "\u6839\u636e\u9898\u610f\uff0cx=3\uff0c\u56e0\u6b64\u7b54\u6848\u662fB", 1.0),
        (("last",), "B", "x=3\uff0cB\u9009\u9879\u6b63\u786e", 1.0),
        (("last",), "B", "x=3なので答えはBです", 1.0),
        (("last",), "B", "答案是B", 1.0),
        (("boxed",), "E", r"\boxed{E: A polygenic risk score}", 1.0),
        (("boxed",), "C", r"\boxed{C. Vitamin D}", 1.0),
        (("boxed",), "C", r"\boxed{(C) Hepatitis B}", 1.0),
        (("last",), "C", "The answer is C. Vitamin D deficiency causes it.", 1.0),
        (("last",), "D", "Answer: D, not B", 1.0),
    ],
)
def test_the_letter_of_the_answer_is_read(rules, gold, completion, reward):
    assert verifier(rules).score(completion, gold, {}).reward == reward


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        ("A is correct", "A"),
        ("Option A", "A"),
        ("A", "A"),
        ("The correct option is A: because x", "A"),
        ("So the answer is option C.", "C"),
        ("Answer: (D)", "D"),
        ("The answer is not A but B.", "B"),
        ("Both B and C look right, but C is correct.", "C"),
        ("The answer is A. Wait, no.\n\nB", "B"),
        ("A. It is hot\nB. It is cold\nThe correct answer is B. It is cold", "B"),
        ("I would go with option A here", "A"),
        ("I think the answer is I", "I"),
        ("选项A是正确的", "A"),
        ("\u6545\u9009\uff1aC", "C"),
        ("正解はDです", "D"),
        ("\u7b54\u3048\u306f\uff08A\uff09\u3067\u3059", "A"),
        ("정답은 B입니다", "B"),
        ("\uff22", "B"),
        ("\u7b54\u6848\uff1a\uff21", "A"),
        ("\u9009B\uff0c\u56e0\u4e3aA\u4e0d\u5bf9", "B"),
        ("So it must be (C) Hepatitis B", "C"),
        ("Therefore B: Vitamin D", "B"),
        ("B) Vitamin C", "B"),
        ("B。因为A错误", "B"),
        ("A. hot\nB. cold\nC. wet", "C"),
        ("Correct answer: B", "B"),
        ("A because it is", "A"),
        ("The best choice is E, since A and B fail", "E"),
        ("I choose A", "A"),
        ("It's A", "A"),
        ("A dog is no cat", None),
        ("**Answer: B**", "B"),
        (r"\textbf{B}", "B"),
        ("My final answer is: **(B) 12**", "B"),
        ("Option A is wrong, so B", "B"),
        ("Neither A nor B, so C.", "C"),
        ("I choose A since B is wrong", "A"),
        ("The answer would be I think B", "B"),
        ("Option B is the best answer", "B"),
        (r"\[ \boxed{B} \]", "B"),
        ("Final Answer\n\nB", "B"),
        ("the answer is b", "B"),
        ("Answer: C. A and B are false", "C"),
    ],
)
def test_a_sentence_that_names_the_answer_counts_before_other_letters(completion, letter):
    assert verifier().score(completion, "A", {}).extracted == letter


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        (r"\boxed{A or B}", None),
        (r"\boxed{A, B}", None),
        (r"\boxed{\text{(B) Vitamin C}}", "B"),
        (r"\boxed{B because A is wrong}", "B"),
        (r"\boxed{A is correct}", "A"),
        (r"\boxed{\text{Option A}}", "A"),
        (r"\boxed{(A)\ 12}", "A"),
        (r"\boxed{\mathrm{D}}", "D"),
        (r"\boxed{A. B cells}", "A"),
        (r"\boxed{Vitamin C}", "C"),
        (r"\boxed{A}, \boxed{B}", None),
        (r"\boxed{B} or \boxed{B}", "B"),
        (r"\boxed{c) 4}", "C"),
        (r"\boxed{B - Paris}", "B"),
        (r"\boxed{答案是B}", "B"),
    ],
)
def test_a_box_gives_one_letter_or_none(completion, letter):
    assert verifier(("boxed", "last")).score(completion, "A", {}).extracted == letter


@pytest.mark.parametrize(
    "gold",
    [
        "B",
        "b",
        "(B)",
        "B) because C is not",
        " B. ",
        "B: Vitamin C",
        "B. Vitamin C",
        "Option B",
        "Answer: B",
        "$B$",
        r"\text{B}",
        r"\boxed{B}",
        "**B**",
        "B - Paris",
        "(b)",
        "The answer is B",
    ],
)
def test_a_gold_is_one_letter_with_its_text_perhaps(gold):
    assert verifier().answer_problem(gold, {}) is None
    assert verifier().score("B", gold, {}).reward == 1.0


@pytest.mark.parametrize(
    ("gold", "problem"),
    [
        ("A, C", '"A, C" names 2 choices'),
        ("A and C", '"A and C" names 2 choices'),
        ("A/B", '"A/B" names 2 choices'),
        ("A or B", '"A or B" names 2 choices'),
        ("A; B", '"A; B" names 2 choices'),
        ("A - C", '"A - C" names 2 choices'),
        ("A. C.", '"A. C." names 2 choices'),
        ("(A) and (C)", '"(A) and (C)" names 2 choices'),
        ("B, C and D", '"B, C and D" names 3 choices'),
        ("Vitamin C", '"Vitamin C" is text'),
        ("AC", "names no choice"),
        ("A dog", "names no choice"),
        ("2", "names no choice"),
        ("NaN", "names no choice"),
        ("all of the above", "names no choice"),
        ("", "names no choice"),
    ],
)
def test_other_golds_are_refused(gold, problem):
    assert verifier().answer_problem(gold, {}).startswith(problem)


@pytest.mark.parametrize(
    ("gold", "advice"),
    [
        ("A, C", "; try verifier.name: exact, which compares such lists as text"),
        ("Vitamin C", "; try verifier.name: exact, which compares text"),
    ],
)
def test_a_gold_that_another_verifier_takes_is_refused_with_its_name(gold, advice):
    assert verifier().answer_problem(gold, {}).endswith(advice)


@pytest.mark.parametrize(
    "unit",
    ["选", "選", "答案", "정답", "答え", "选项", "选:", "答案 为", "选\n", "\n", "answer ", "so ", "A ", "("],
)
def test_a_repeated_word_takes_linear_time(unit):
    for completion in ("{}", "the answer{}", "{}A"):
        assert_linear(
            lambda size, form=completion: verifier().score(form.format(unit * (size // len(unit))), "A", {}),
            size=8_000,
        )


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("\\text{not A}", None),
        ("not A", None),
        ("A and B", None),
        ("A or B", None),
        ("A, not B", "A"),
        ("neither A nor B", None),
        ("A is not correct", None),
        ("Not A but B", "B"),
        ("not A, B", "B"),
        ("The answer is A or B", None),
        ("The answer is A and B", None),
        ("cannot be A", None),
        ("A is wrong", None),
        ("Both A and B", None),
        ("A/B", None),
        ("anything but A", None),
        ("A and a half of B", None),
        ("All except A", None),
    ],
)
def test_a_letter_that_a_mark_denies_or_one_of_several_is_no_choice(answer, letter):
    assert verifier(("boxed",)).score(rf"\boxed{{{answer}}}", "A", {}).extracted == letter


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        ("The answer is A and B", None),
        ("The answer is A or B", None),
        ("The answer cannot be A", None),
        ("I would not choose A", None),
        ("The answer isn't A", None),
        ("The answer is A, B and C", None),
        ("The answer is both A and C", None),
        ("The answer is either A or B", None),
        ("At first I thought the answer is A, but it is B", "B"),
        ("Some say the answer is A. I say B.", "B"),
        ("The answer is not A.", None),
        ("I wouldn't pick A", None),
        ("A is not the answer", None),
        ("A cannot be correct", None),
        ("The answer can't be A, so it is B", "B"),
        ("The answer is A. It is not B.", "A"),
        ("The answer is A, not B", "A"),
        ("The answer is A because B and C are wrong", "A"),
        ("The answer is A and B is wrong", "A"),
        ("The answer is A/B", None),
        ("The answer is A & B", None),
        ("I first chose A, but the correct one is B", "B"),
        ("One might choose A, however B is correct", "B"),
        ("The answer is A. B and C are wrong", "A"),
        ("The answer is A, and B is false", "A"),
        ("Is the answer A? No, it is B.", "B"),
        ("I thought A, but now I say B", "B"),
        ("The answer is A, since B is too small.", "A"),
        ("Not A", None),
        ("The answer is A.\nB is too small, but C is close", "A"),
        ("The answer is A, but B is close", "A"),
        ("答案不是A", None),
        ("The answer is A or B? It is B", "B"),
        ("The answer is A; it is not B.", "A"),
        ("The answer is A. If it is B, then x = 2.", "A"),
        ("Suppose the answer is A. That fails, so it is B.", "B"),
        ("I would say C", "C"),
        ("The answer is A. I say that B is too small.", "A"),
    ],
)
def test_a_letter_that_a_sentence_denies_or_takes_back_is_no_choice(completion, letter):
    assert verifier().score(completion, "A", {}).extracted == letter
