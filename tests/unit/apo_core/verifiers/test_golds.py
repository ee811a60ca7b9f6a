"""Gold answers, written as completions, are right against themselves."""

import pytest

from apo_core.verifiers.golds import gold_completion
from apo_core.verifiers.mathematics import MathVerifier


@pytest.mark.parametrize(
    ("rule", "gold", "completion"),
    [
        ("boxed", r"The answer is $\frac12$", r"\boxed{\frac12}"),
        ("boxed", r"so it is \(2x\).", r"\boxed{2x}"),
        ("boxed", r"hence $$x^2$$", r"\boxed{x^2}"),
        ("boxed", r"We get $\boxed{3}$ and $\boxed{5}$.", r"\boxed{3, 5}"),
        ("boxed", r"$3$ and $5$", r"\boxed{$3$ and $5$}"),
        ("boxed", "2x", r"\boxed{2x}"),
        ("tag", r"The answer is $\frac12$", r"<answer>\frac12</answer>"),
        ("hashes", r"The answer is \boxed{7}", "#### 7"),
        ("hashes", "It is\n$7$", "#### 7"),
        ("last", r"The answer is $\frac12$", r"The answer is $\frac12$"),
        ("last", r"\(2x\)", r"\(2x\)"),
        ("last", "2x", "$2x$"),
    ],
)
def test_only_what_is_marked_in_a_gold_is_the_answer(rule, gold, completion):
    assert gold_completion("math", (rule,), gold) == completion


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["boxed", "tag", "hashes", "last"])
@pytest.mark.parametrize(
    "gold",
    [
        r"The answer is $\frac12$",
        r"The answer is \(\frac12\)",
        r"The value of the sum is therefore $$\frac{3}{4}.$$",
        r"Therefore we get $x = \boxed{2\sqrt{3}}$.",
        r"$\boxed{3}$ and $\boxed{5}$",
        r"$x = 5$",
        "$3$, $5$",
        r"2\sqrt{13}",
        "2x",
        "(1, 2)",
        r"$(-\infty, 2]$",
    ],
)
def test_a_gold_that_is_no_problem_is_right_against_itself(rule, gold):
    verifier = MathVerifier((rule,))
    assert verifier.answer_problem(gold, {}) is None
    completion = gold_completion("math", (rule,), gold)
    assert completion is not None
    assert verifier.score(completion, gold, {}).reward == 1, completion
