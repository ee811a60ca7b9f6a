import math

import pytest

from apo_core.promotion import Comparison, decide

BETTER = Comparison("reference", 0.2, 0.1, 0.3)
UNCLEAR = Comparison("reference", 0.1, -0.1, 0.3)
WORSE = Comparison("reference", -0.2, -0.3, -0.1)


def against(policy, comparison):
    return comparison._replace(against=policy)


def decision(*comparisons, prompts=100, kl=1.0, min_prompts=100, min_gain=0.0, max_kl=10.0):
    return decide(
        list(comparisons),
        prompts=prompts,
        kl=kl,
        min_prompts=min_prompts,
        min_gain=min_gain,
        max_kl=max_kl,
    )


@pytest.mark.parametrize(
    ("reference", "champion", "outcome"),
    [
        (BETTER, None, "promote"),
        (UNCLEAR, None, "hold"),
        (WORSE, None, "reject"),
        (BETTER, BETTER, "promote"),
        (BETTER, UNCLEAR, "hold"),
        (BETTER, WORSE, "reject"),
        (UNCLEAR, BETTER, "hold"),
        (UNCLEAR, UNCLEAR, "hold"),
        (UNCLEAR, WORSE, "reject"),  # being worse weighs more than being unclear, whichever comes first
        (WORSE, BETTER, "reject"),
        (WORSE, UNCLEAR, "reject"),
        (WORSE, WORSE, "reject"),
    ],
)
def test_the_worst_comparison_decides(reference, champion, outcome):
    comparisons = [reference] if champion is None else [reference, against("champion", champion)]
    assert decision(*comparisons).outcome == outcome


@pytest.mark.parametrize(("comparison", "worst"), [(BETTER, "hold"), (UNCLEAR, "hold"), (WORSE, "hold")])
def test_too_few_prompts_decide_nothing(comparison, worst):
    assert decision(comparison, prompts=99, kl=1000.0).outcome == worst


@pytest.mark.parametrize(
    ("kl", "outcome"),
    [(0.0, "promote"), (10.0, "promote"), (10.01, "reject"), (math.inf, "reject"), (math.nan, "reject")],
)
def test_a_policy_too_far_from_the_reference_is_rejected(kl, outcome):
    assert decision(BETTER, kl=kl).outcome == outcome


@pytest.mark.parametrize(
    ("low", "min_gain", "outcome"),
    [
        (0.001, 0.0, "promote"),
        (0.0, 0.0, "hold"),  # an interval that touches zero shows nothing
        (0.05, 0.05, "hold"),
        (0.051, 0.05, "promote"),
        (math.nan, 0.0, "hold"),
    ],
)
def test_the_lower_end_decides_and_not_the_point(low, min_gain, outcome):
    assert decision(Comparison("reference", 0.5, low, 0.9), min_gain=min_gain).outcome == outcome


@pytest.mark.parametrize(("high", "outcome"), [(-0.001, "reject"), (0.0, "hold")])
def test_only_a_clear_loss_is_rejected(high, outcome):
    assert decision(Comparison("reference", -0.2, -0.4, high)).outcome == outcome


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (decision(BETTER, prompts=99), "99 evaluation prompts are too few, 100 are needed"),
        (decision(BETTER, kl=12.345), "KL 12.3 to the reference is above 10"),
        (decision(WORSE), "worse than the reference: pass@1 -0.200, 95% interval -0.300 to -0.100"),
        (
            decision(BETTER, against("champion", UNCLEAR), min_gain=0.01),
            "not shown to be better than the champion by more than 0.01: "
            "pass@1 +0.100, 95% interval -0.100 to +0.300",
        ),
        (
            decision(BETTER, against("champion", BETTER)),
            "better than the reference and champion: pass@1 +0.200, 95% interval +0.100 to +0.300; "
            "pass@1 +0.200, 95% interval +0.100 to +0.300",
        ),
    ],
)
def test_the_reason_says_what_was_found(found, reason):
    assert found.reason == reason


def test_a_candidate_that_was_compared_with_nothing_is_not_promoted():
    assert decision().outcome != "promote"
