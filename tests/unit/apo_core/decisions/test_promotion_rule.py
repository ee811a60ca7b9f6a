import math
from dataclasses import replace

import pytest

from apo_core.decisions.promotion_rule import Comparison, confirm_decision, decide_promotion


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
    ("comparisons", "rules", "reason"),
    [
        ([], {}, "compared with nothing"),
        ([BETTER], {"prompts": 99}, "99 evaluation prompts are too few, 100 are needed"),
        ([BETTER], {"kl": 12.345}, "KL 12.3 to the reference is above 10"),
        ([WORSE], {}, "worse than the reference: pass@1 -0.200, 95% interval -0.300 to -0.100"),
        (
            [BETTER, against("champion", UNCLEAR)],
            {"min_gain": 0.01},
            "not shown to be better than the champion by more than 0.01: "
            "pass@1 +0.100, 95% interval -0.100 to +0.300",
        ),
        (
            [BETTER, compared("champion (version 1)", 0.05, 0.01, 0.09)],
            {},
            "better than the reference and the champion (version 1): pass@1 +0.200 over the reference "
            "(95% +0.100 to +0.300), +0.050 over the champion (version 1) (95% +0.010 to +0.090)",
        ),
    ],
)
def test_the_reason_says_what_was_found(comparisons, rules, reason):
    assert decision(*comparisons, **rules).reason == reason


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


@pytest.mark.parametrize(
    ("alpha", "level"),
    [
        (0.05, "95%"),
        (0.01, "99%"),
        (0.05 / 3, "98.33%"),
        (0.0005, "99.95%"),
        (0.000993, "99.901%"),
        (0.05 / 300, "99.983%"),
        (1e-6, "99.9999%"),
    ],
)
def test_the_level_of_an_interval_is_named(alpha, level):
    comparison = replace(BETTER, alpha=alpha)
    assert comparison.level == level
    assert decision(comparison).reason.endswith(f"{level} interval +0.100 to +0.300")
    assert f"({level} +0.100" in decision(comparison, against("champion", BETTER)).reason


def failing(comparison, worst, counted=12):
    """A comparison without the responses that the verifier failed on, and with them counted against."""
    return replace(comparison, worst=replace(worst, counted_against=counted))


@pytest.mark.parametrize(
    ("comparison", "outcome"),
    [
        (failing(BETTER, BETTER), "promote"),
        (failing(BETTER, UNCLEAR), "hold"),
        (failing(BETTER, WORSE), "hold"),  # not shown to be worse: nobody knows these rewards
        (failing(UNCLEAR, WORSE), "hold"),
        (failing(WORSE, WORSE), "reject"),
    ],
)
@pytest.mark.parametrize("before", [[], [BETTER]])
def test_a_promotion_holds_whatever_the_missing_rewards(comparison, outcome, before):
    assert decision(*before, comparison).outcome == outcome


def test_a_set_that_may_be_worse_holds_a_promotion():
    assert decision(BETTER, failing(on("one", UNCLEAR), on("one", WORSE))).outcome == "hold"
    assert decision(BETTER, failing(on("one", UNCLEAR), on("one", UNCLEAR))).outcome == "promote"


def test_the_reason_says_how_missing_rewards_were_counted():
    counted = (
        "pass@1 +0.100, 95% interval -0.100 to +0.300 with 12 responses that the verifier failed on "
        "counted wrong for the policy and right for the reference"
    )
    better = "better than the reference: pass@1 +0.200, 95% interval +0.100 to +0.300"
    assert decision(failing(BETTER, UNCLEAR)).reason == (
        f"only without the missing rewards {better}; "
        f"not shown to be better than the reference by more than 0: {counted}"
    )
    worst = replace(UNCLEAR, low=0.01)
    assert decision(failing(BETTER, worst)).reason == (
        f"{better}; whatever the missing rewards: better than the reference: "
        + counted.replace("-0.100", "+0.010")
    )


@pytest.mark.parametrize("afresh", [BETTER, UNCLEAR, WORSE])
def test_what_fresh_responses_say_decides(afresh):
    lucky = decision(compared("reference", 0.9, 0.8, 1.0))
    both = confirm_decision(lucky, decision(afresh))
    assert both.outcome == decision(afresh).outcome
    assert "+0.900" in both.reason
    assert f"{afresh.gain:+.3f}" in both.reason
    assert (both.gains, both.confirmed) == ((afresh,), True)


def test_the_gains_of_a_decision_are_over_each_of_the_others_on_all_prompts():
    champion = against("champion", BETTER)
    made = decision(BETTER, champion, replace(BETTER, on="hard"), replace(champion, only_vetoes=True))
    assert (made.gains, made.confirmed) == ((BETTER, champion), False)
    assert decision(BETTER, prompts=99).gains == ()
