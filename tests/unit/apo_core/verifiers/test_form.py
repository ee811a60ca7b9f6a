"""The form of a response, whatever its answer."""

from pathlib import Path

import pytest

from apo_core.verifiers import make_verifier

TAGGED = "<think>7 is 3 + 4</think>\n<answer>7</answer>"


def form(*rules, **more):
    return make_verifier("form", rules or ("tag",), Path(), **more)


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (TAGGED, "the form is as it should be"),
        (f"  {TAGGED}\n", "the form is as it should be"),
        ("<answer>7</answer>", "does not begin with <think>"),
        ("So: <think>3</think><answer>7</answer>", "does not begin with <think>"),
        ("<think>3<answer>7</answer>", "has no single <think></think>"),
        ("<think>3</think><think>4</think><answer>7</answer>", "has no single <think></think>"),
        ("<think>3</think></think><answer>7</answer>", "has no single <think></think>"),
        ("<think> </think><answer>7</answer>", "has nothing between <think> and </think>"),
        ("<think>3</think>7", "has 0 of <answer></answer> where there should be one"),
        (
            "<think>3</think><answer>7</answer><answer>8</answer>",
            "has 2 of <answer></answer> where there should be one",
        ),
        ("<think>3</think><answer> </answer>", "has nothing in <answer></answer>"),
        ("<think>3</think><answer>7", "has nothing in <answer></answer>"),
    ],
)
def test_thinking_comes_first_and_the_answer_once(completion, reason):
    verdict = form().score(completion, "anything", {})
    assert verdict.reason == reason
    assert verdict.reward == float(reason.endswith("should be"))
    assert verdict.extracted == ("7" if verdict.reward else None)


def test_a_prompt_may_have_opened_the_thinking_part():
    assert form(thinking_opened=True).score(TAGGED.removeprefix("<think>"), "7", {}).reward == 1.0
    assert form(thinking_opened=True).score(TAGGED, "7", {}).reward == 0.0


def test_without_a_thinking_part_the_answer_alone_is_looked_at():
    kept = form("boxed", thinking="keep")
    assert kept.score(r"so \boxed{\frac{1}{2}}", "7", {}).reward == 1.0
    assert kept.score("so 7", "7", {}).reward == 0.0
    assert form("hashes", thinking="keep").score("so\n#### 7", "8", {}).reward == 1.0


def test_other_tags_may_be_those_of_the_model():
    text = TAGGED.replace("think", "reasoning")
    assert form(thinking_tags=("<reasoning>", "</reasoning>")).score(text, "7", {}).reward == 1.0
    assert form().score(text, "7", {}).reward == 0.0


def test_what_is_asked_for_is_in_the_version():
    versions = {form().version, form("boxed").version, form(thinking="keep").version}
    assert len(versions) == 3
    tags = (("a", "bc"), ("ab", "c"))
    assert len({form(thinking_tags=pair).version for pair in tags}) == 2


@pytest.mark.parametrize(
    ("rule", "text", "marks"),
    [
        ("hashes", "#### Step 1: x\n#### 5", 1),
        ("hashes", "#### Final answer\n5", 0),
        ("hashes", "#### 5\n#### Explanation\nIt is 5", 1),
        ("hashes", "#### 5\n#### 6", 2),
        ("hashes", "#### proof", 1),
        ("hashes", "#### 5\n#### proof", 1),
        ("boxed", r"\boxed{3} and \boxed{5}", 1),
        ("boxed", r"\boxed{3}, \boxed{5}, \boxed{7}", 1),
        ("boxed", r"\boxed{3}. So \boxed{5}", 2),
    ],
)
def test_marks_are_counted_as_they_are_extracted(rule, text, marks):
    verdict = form(rule, thinking="keep").score(text, "7", {})
    assert verdict.reward == float(marks == 1)
    assert marks == 1 or verdict.reason.startswith(f"has {marks} of ")
