import math

import pandas as pd
import pytest

from apo_core.decisions.policy_comparison import compare_policies, eval_sets, vetoing_sets
from apo_core.decisions.promotion_rule import decide_promotion
from apo_core.errors import ApoError
from apo_core.evaluation.intervals import paired_interval

NAN = math.nan


def sampled(means, first=0):
    """Two sampled rewards per prompt with these means of 0, 1/2 or 1; None: the verifier failed on both."""
    return pd.DataFrame(
        [
            (f"p{first + number}", NAN if mean is None else float(index < 2 * mean))
            for number, mean in enumerate(means)
            for index in range(2)
        ],
        columns=["prompt_id", "reward"],
    )


def sets_of(**sizes):
    names = [name for name, size in sizes.items() for _ in range(size)]
    return pd.Series(names, index=[f"p{number}" for number in range(len(names))])


def test_two_policies_are_compared_on_all_prompts_and_on_each_set():
    ours, theirs = sampled([1.0] * 20 + [0.0] * 20), sampled([0.5] * 40)
    whole, first, second = compare_policies(ours, {"champion": theirs}, sets_of(first=20, second=20), seed=3)
    assert [(part.against, part.on, part.gain, part.alpha) for part in (whole, first, second)] == [
        ("champion", None, 0.0, 0.05),
        ("champion", "first", 0.5, 0.025),  # two sets share the level
        ("champion", "second", -0.5, 0.025),
    ]
    index = [f"p{number}" for number in range(20)]
    expected = paired_interval(pd.Series(0.5, index=index), pd.Series(1.0, index=index), seed=3, alpha=0.025)
    assert (first.low, first.high) == expected
    assert whole.low < 0 < whole.high
    assert second.high < 0
    assert all(part.worst is None for part in (whole, first, second))
    assert {part.score for part in (whole, first, second)} == {"pass@1"}


def test_the_level_is_a_parameter_and_shared_by_sets_and_policies():
    policy, sets = sampled([1.0] * 40), sets_of(first=20, second=20)
    others = {"reference": sampled([0.0] * 40), "champion": sampled([0.5] * 40)}
    comparisons = compare_policies(policy, others, sets, seed=0, alpha=0.01, score="reward")
    assert [(part.against, part.on, part.alpha, part.only_vetoes) for part in comparisons] == [
        (against, on, alpha, only_vetoes)
        for against in others
        for on, alpha, only_vetoes in (
            (None, 0.01, False),
            (None, 0.05, True),
            ("first", 0.0125, False),
            ("second", 0.0125, False),
        )
    ]
    assert {part.score for part in comparisons} == {"reward"}


def test_one_set_is_all_prompts():
    (only,) = compare_policies(sampled([1.0] * 9), {"champion": sampled([0.5] * 9)}, sets_of(first=9), seed=0)
    assert only.on is None


def test_intervals_follow_from_the_seed_alone():
    """All prompts, a loss at a late look, and the bounds where the verifier failed: each of the same seed."""
    ours, theirs = sampled([1.0, 0.5, None, 0.0] * 30), sampled([0.0, 0.5, 0.5, 1.0] * 30)
    whole, loss = compare_policies(ours, {"x": theirs}, sets_of(only=120), seed=3, alpha=0.01)
    index = [f"p{number}" for number in range(120)]
    first = pd.Series([0.0, 0.5, 0.5, 1.0] * 30, index=index)
    second = pd.Series([1.0, 0.5, NAN, 0.0] * 30, index=index)
    scored = [means[second.notna()] for means in (first, second)]
    bounds = first, second.fillna(0.0)
    for part, alpha in ((whole, 0.01), (loss, 0.05)):
        assert (part.low, part.high) == paired_interval(*scored, seed=3, alpha=alpha)
        assert (part.worst.low, part.worst.high) == paired_interval(*bounds, seed=3, alpha=alpha)


def test_a_loss_at_a_late_look_only_vetoes_with_failed_rows_counted_too():
    ours, theirs = sampled([1.0] * 39 + [None]), sampled([0.5] * 40)
    whole, loss = compare_policies(ours, {"x": theirs}, sets_of(only=40), seed=0, alpha=0.01)
    assert (whole.only_vetoes, whole.worst.only_vetoes, whole.worst.alpha) == (False, False, 0.01)
    assert (loss.only_vetoes, loss.worst.only_vetoes, loss.worst.alpha) == (True, True, 0.05)
    assert whole.worst.counted_against == loss.worst.counted_against == 2


def test_only_prompts_of_both_count_where_no_verifier_failed():
    ours, theirs = sampled([None, 1.0, 1.0]), sampled([0.5] * 3, first=1)  # p0 is ours alone, p3 theirs
    (whole,) = compare_policies(ours, {"champion": theirs}, sets_of(first=4), seed=0)
    assert (whole.gain, whole.worst) == (0.5, None)


@pytest.mark.parametrize(
    ("sizes", "comparisons", "alpha", "vetoing"),
    [
        ({"only": 500}, 1, 0.05, []),
        ({"large": 500, "small": 5}, 1, 0.05, ["large"]),  # 2^-5 > 0.025
        ({"large": 500, "small": 6}, 1, 0.05, ["large"]),  # 2^-6 <= 0.025, but not half of it
        ({"large": 500, "small": 7}, 1, 0.05, ["large", "small"]),
        ({"large": 500, "small": 7}, 2, 0.05, ["large"]),
        ({"large": 500, "small": 7}, 1, 0.02, ["large"]),
        ({"a": 2, "b": 3}, 1, 0.05, []),
        ({"a": 6, "b": 3}, 1, 0.05, ["a"]),
        ({"a": 6, "b": 3}, 1, 0.04, ["a"]),  # 2^-6 <= 0.02
        ({"large": 500, "a": 6, "b": 6, "c": 6}, 1, 0.05, ["large"]),  # many small sets take no share
    ],
)
def test_a_set_needs_enough_prompts_to_veto(sizes, comparisons, alpha, vetoing):
    assert vetoing_sets(pd.Series(sizes), comparisons=comparisons, alpha=alpha) == vetoing


def test_a_set_that_cannot_veto_is_not_compared_and_takes_no_share():
    ours = sampled([1.0] * 20 + [0.0] * 3)
    comparisons = compare_policies(ours, {"x": sampled([0.5] * 23)}, sets_of(large=20, tiny=3), seed=0)
    assert [(part.on, part.alpha) for part in comparisons] == [(None, 0.05), ("large", 0.05)]


def test_failed_rows_are_counted_against_the_policy():
    ours = sampled([1.0] * 38 + [None, 0.0])
    theirs = sampled([0.5] * 38 + [0.0, None])
    whole, first, second = compare_policies(ours, {"x": theirs}, sets_of(first=20, second=20), seed=0)
    assert whole.gain == 0.5  # of the 38 prompts
    assert whole.worst.gain == pytest.approx((38 * 0.5 + 0 - 1) / 40)
    assert (whole.worst.counted_against, whole.worst.alpha) == (4, 0.05)
    assert (whole.worst.against, whole.worst.on, whole.worst.score) == ("x", None, "pass@1")
    assert whole.worst.low < whole.low
    assert first.worst is None
    assert second.worst.gain == pytest.approx((18 * 0.5 - 1) / 20)
    assert (second.worst.counted_against, second.worst.alpha) == (4, 0.025)
    assert (second.worst.against, second.worst.on, second.worst.score) == ("x", "second", "pass@1")


def test_a_set_on_which_nothing_was_verified_can_only_be_feared():
    ours = sampled([1.0] * 20 + [None] * 20)
    whole, _, second = compare_policies(
        ours, {"x": sampled([0.5] * 40)}, sets_of(first=20, second=20), seed=0
    )
    assert whole.gain == 0.5
    assert (second.low, second.high) == (-1.0, 1.0)
    assert second.worst.high < 0


def test_nothing_to_compare_is_refused():
    with pytest.raises(ApoError, match="the candidate and the champion both have a reward"):
        compare_policies(sampled([None]), {"champion": sampled([1.0])}, sets_of(first=1), seed=0)


def test_only_evaluation_prompts_belong_to_its_sets():
    prompts = pd.DataFrame({"prompt_id": ["a", "b"], "split": ["eval", "train"], "set": ["x", "y"]})
    assert eval_sets(prompts).to_dict() == {"a": "x"}


def test_a_loss_vetoes_at_a_late_look_as_at_the_first():
    ours = sampled([1.0] * 60 + [0.0] * 9 + [1.0] * 11)
    theirs = sampled([0.0] * 60 + [0.5] * 9 + [1.0] * 11)
    sets = sets_of(first=60, second=20)
    for alpha in (0.05, 1e-5):
        comparisons = compare_policies(ours, {"champion": theirs}, sets, seed=0, alpha=alpha)
        limits = {"prompts": 80, "kl": 1.0, "min_prompts": 1, "min_gain": 0.0, "max_kl": 9.0}
        decision = decide_promotion(comparisons, **limits)
        assert decision.outcome == "reject", decision
        assert "worse than the champion on second" in decision.reason
    (whole, loss, *_) = compare_policies(theirs, {"champion": ours}, sets, seed=0, alpha=1e-9)
    assert loss.high < 0
    assert loss.high < whole.high
    assert decide_promotion([whole, loss], **limits).outcome == "reject"
