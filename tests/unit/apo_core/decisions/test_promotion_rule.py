import math
from dataclasses import replace

import pandas as pd
import pytest

from apo_core.decisions.promotion_rule import (
    Comparison,
    compare_by_set,
    compare_with_reference,
    decide_promotion,
)
from apo_core.evaluation.schema import Evaluation, Gain, PolicyScores


def compared(against, gain, low, high, on=None):
    return Comparison(against=against, gain=gain, low=low, high=high, on=on)


BETTER = compared("reference", 0.2, 0.1, 0.3)
UNCLEAR = compared("reference", 0.1, -0.1, 0.3)
WORSE = compared("reference", -0.2, -0.3, -0.1)


def against(policy, comparison):
    return replace(comparison, against=policy)


def decision(*comparisons, prompts=100, kl=1.0, min_prompts=100, min_gain=0.0, max_kl=10.0):
    return decide_promotion(
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
    assert decision(compared("reference", 0.5, low, 0.9), min_gain=min_gain).outcome == outcome


@pytest.mark.parametrize(("high", "outcome"), [(-0.001, "reject"), (0.0, "hold")])
def test_only_a_clear_loss_is_rejected(high, outcome):
    assert decision(compared("reference", -0.2, -0.4, high)).outcome == outcome


@pytest.mark.parametrize(
    ("decided", "reason"),
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
            decision(BETTER, compared("champion (version 1)", 0.05, 0.01, 0.09)),
            "better than the reference and the champion (version 1): pass@1 +0.200 over the reference "
            "(95% +0.100 to +0.300), +0.050 over the champion (version 1) (95% +0.010 to +0.090)",
        ),
    ],
)
def test_the_reason_says_what_was_found(decided, reason):
    assert decided.reason == reason


def test_a_gain_in_graded_rewards_is_called_so():
    graded = replace(BETTER, score="reward")
    assert decision(graded).reason == (
        "better than the reference: reward +0.200, 95% interval +0.100 to +0.300"
    )
    both = decision(graded, replace(graded, against="champion"))
    assert both.reason.startswith("better than the reference and the champion: reward +0.200 over the")


def test_a_candidate_that_was_compared_with_nothing_is_not_promoted():
    assert decision().outcome != "promote"


def on(name, comparison):
    return replace(comparison, on=name)


@pytest.mark.parametrize(
    ("overall", "first", "second", "outcome"),
    [
        (BETTER, BETTER, BETTER, "promote"),
        (BETTER, BETTER, UNCLEAR, "promote"),  # a set need not show a gain of its own
        (BETTER, UNCLEAR, UNCLEAR, "promote"),
        (BETTER, BETTER, WORSE, "reject"),
        (BETTER, WORSE, BETTER, "reject"),
        (UNCLEAR, BETTER, BETTER, "hold"),  # gains on sets do not make one on all prompts
        (UNCLEAR, BETTER, WORSE, "reject"),
        (WORSE, BETTER, BETTER, "reject"),
    ],
)
@pytest.mark.parametrize("against_too", [False, True])
def test_a_loss_on_one_set_rejects(overall, first, second, outcome, against_too):
    comparisons = [overall, on("one", first), on("two", second)]
    if against_too:  # the same of the champion, the reference being beaten everywhere
        champion = [against("champion", comparison) for comparison in comparisons]
        comparisons = [BETTER, on("one", BETTER), on("two", BETTER), *champion]
    assert decision(*comparisons).outcome == outcome


@pytest.mark.parametrize(("high", "outcome"), [(-0.001, "reject"), (0.0, "promote")])
def test_only_a_clear_loss_on_a_set_is_rejected(high, outcome):
    assert decision(BETTER, compared("reference", -0.2, -0.4, high, "one")).outcome == outcome


def test_the_set_that_is_worse_is_named():
    decided = decision(BETTER, against("champion", BETTER), on("aime24", against("champion", WORSE)))
    assert decided.reason == (
        "worse than the champion on aime24: pass@1 -0.200, 95% interval -0.300 to -0.100"
    )


def test_a_promotion_is_reasoned_by_all_prompts():
    assert decision(BETTER, on("one", UNCLEAR)).reason == (
        "better than the reference: pass@1 +0.200, 95% interval +0.100 to +0.300"
    )


def test_sets_alone_are_no_evidence():
    assert decision(on("one", BETTER)).outcome == "hold"


def test_an_evaluation_gives_a_comparison_for_all_prompts_and_each_set():
    scores = PolicyScores.model_construct(pass_at_1=0.5)
    block = Gain.model_construct(policy=scores, gain=0.2, gain_ci95=(0.1, 0.3))
    other = Gain.model_construct(policy=scores, gain=-0.2, gain_ci95=(-0.3, -0.1))
    whole = Evaluation.model_construct(policy=scores, gain=0.2, gain_ci95=(0.1, 0.3), sets={})
    assert compare_with_reference(whole) == [BETTER]
    assert compare_with_reference(whole.model_copy(update={"sets": {"one": block, "two": other}})) == [
        BETTER,
        on("one", BETTER),
        on("two", WORSE),
    ]


def test_two_policies_are_compared_on_all_prompts_and_on_each_set():
    names = [f"p{index}" for index in range(40)]
    sets = pd.Series(["one"] * 20 + ["two"] * 20 + ["third"] * 2, index=[*names, "left", "other"])
    theirs = pd.Series([0.5] * 40 + [0.0], index=[*names, "left"])  # ours has no reward on the last
    ours = pd.Series([1.0] * 20 + [0.25] * 20 + [0.0], index=[*names, "other"])  # nor theirs on this one
    whole, first, second = compare_by_set("champion", theirs, ours, sets, seed=0)
    assert (first, second) == (
        compared("champion", 0.5, 0.5, 0.5, "one"),
        compared("champion", -0.25, -0.25, -0.25, "two"),
    )
    assert (whole.on, whole.gain) == (None, 0.125)
    assert whole.low < 0.125 < whole.high
    (only,) = compare_by_set("champion", theirs[:20], ours[:20], sets, seed=0)
    assert only == replace(first, on=None)
